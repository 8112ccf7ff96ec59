"use strict";
(() => {
  document.documentElement.classList.add("script");
  const SIDES = ["left", "right"];
  const examples = [...document.querySelectorAll(".example")].map((example) => {
    const pairs = JSON.parse(example.dataset.pairs);
    const stage = example.querySelector(".stage");
    const range = stage.querySelector("input");
    const difference = example.querySelector(".difference");
    const selects = SIDES.map((side) => example.querySelector(`select[name=${side}]`));
    // The tiles describe the pictures to a screen reader, so these are silent.
    const pictures = SIDES.map((side) => Object.assign(new Image(), { alt: "", draggable: false }));
    stage.prepend(...pictures);

    function move() {
      const names = selects.map((select) => select.selectedOptions[0].textContent);
      stage.style.setProperty("--at", `${range.value}%`);
      range.setAttribute(
        "aria-valuetext",
        `${range.value} % ${names[0]}, ${100 - range.value} % ${names[1]}`,
      );
    }

    function show() {
      const keys = selects.map((select) => select.value);
      keys.forEach((key, i) => {
        const figure = example.querySelector(`[data-tile="${CSS.escape(key)}"]`);
        pictures[i].src = figure.querySelector("img").src;
        pictures[i].className = `${SIDES[i]} ${figure.className}`;
      });
      difference.textContent = pairs[keys.join(" ")] ?? pairs[keys.reverse().join(" ")] ?? "";
      move();
    }

    range.addEventListener("input", move);
    show();
    return { selects, show };
  });

  // Whoever compares two backends wants to see them in every image.
  for (const { selects } of examples) {
    selects.forEach((select, i) => select.addEventListener("change", () => {
      for (const { selects: others, show } of examples) {
        const known = [...others[i].options].some((option) => option.value === select.value);
        if (known) others[i].value = select.value;
        show();
      }
    }));
  }
})();
