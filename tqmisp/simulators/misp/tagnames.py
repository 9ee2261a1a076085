"""The tags of the two taxonomies that most servers enable, and that the recorded one had enabled."""

FIRST_TAGS = (
    ("PAP:RED", "#ff0000"),
    ("PAP:AMBER", "#ffc000"),
    ("PAP:GREEN", "#33ff00"),
    ("PAP:CLEAR", "#ffffff"),
    ("PAP:WHITE", "#ffffff"),
    ("tlp:red", "#FF2B2B"),
    ("tlp:amber", "#FFC000"),
    ("tlp:amber+strict", "#FFC000"),
    ("tlp:green", "#33FF00"),
    ("tlp:white", "#ffffff"),
    ("tlp:clear", "#ffffff"),
    ("tlp:ex:chr", "#d208f4"),
    ("tlp:unclear", "#7e7eae"),
)
"""Name and colour, in the order of their ids from 1."""
