"""How fast, and how large: figures come from here, with the machine that they were taken on."""
