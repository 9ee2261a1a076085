
"use strict";
(() => {
  const form = document.querySelector("form.controls");
  if (!form) return;
  const words = form.querySelector("#words");
  const kind = form.querySelector("#kind");
  const code = form.querySelector("#code");
  const found = form.querySelector("#found");
  const rows = [...document.querySelectorAll("#refused tbody tr")].map((row) => [row, row.textContent.toLowerCase()]);
  const look = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [row, text] of rows) {
      const fits =
        (!kind.value || row.dataset.kind === kind.value) &&
        (!code.value || row.dataset.code === code.value) &&
        wanted.every((word) => text.includes(word));
      row.hidden = !fits;
      shown += fits;
    }
    found.textContent = `${shown.toLocaleString("en")} shown`;
  };
  form.addEventListener("input", look);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  look();
})();
