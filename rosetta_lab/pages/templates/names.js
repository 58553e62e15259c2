"use strict";
(() => {
  const form = document.getElementById("tools");
  const status = document.getElementById("status");
  const cards = [...document.querySelectorAll("[data-words]")];

  /* Every word must be in the concept's name or its runner-up. */
  function apply() {
    const words = form.elements.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const card of cards) {
      const fits = !form.elements.named.checked || card.dataset.named === "true";
      const show = fits && words.every((word) => card.dataset.words.includes(word));
      card.hidden = !show;
      left += show;
    }
    status.textContent = `${left}\u00a0of\u00a0${cards.length}\u00a0concepts`;
  }

  form.hidden = false;
  for (const event of ["input", "change"]) form.addEventListener(event, apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
})();
