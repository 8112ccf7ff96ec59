// One choice of framework for all pages. It is remembered, and it is what the tabs show too.
// The last two choices are the columns of the pages side by side.
"use strict";
(() => {
  const NAMES = { torch: "PyTorch", mxnet: "MXNet", jax: "JAX", tf: "TensorFlow" };
  const KEY = "fcn-backends";
  const TABS = "sphinx-design-tab-id-backend"; // Where sphinx-design looks when a page opens.
  const root = document.documentElement;

  function remembered() {
    try {
      const names = (localStorage.getItem(KEY) || "").split(" ").filter((name) => name in NAMES);
      return [...new Set([...names, "torch", "jax"])].slice(0, 2);
    } catch {
      return ["torch", "jax"]; // A browser may forbid storage.
    }
  }

  let chosen = remembered();

  function show() {
    root.dataset.columns = chosen.join(" ");
    root.dataset.backend = chosen[0];
    try {
      sessionStorage.setItem(TABS, chosen[0]);
    } catch {
      // The tabs begin with their first one then.
    }
    for (const button of document.querySelectorAll(".columns-bar button")) {
      const { backend } = button.dataset;
      button.setAttribute("aria-pressed", String(chosen.includes(backend)));
      button.classList.toggle("first", backend === chosen[0]);
    }
  }

  function choose(backend) {
    chosen = [backend, ...chosen.filter((name) => name !== backend)].slice(0, 2);
    try {
      localStorage.setItem(KEY, chosen.join(" "));
    } catch {
      // The choice lasts as long as this page.
    }
    show();
  }

  show();
  document.addEventListener("DOMContentLoaded", () => {
    for (const bar of document.querySelectorAll(".columns-bar")) {
      bar.setAttribute("role", "group");
      bar.setAttribute("aria-label", "Frameworks to show");
      for (const backend of bar.dataset.backends.split(" ")) {
        const button = document.createElement("button");
        button.type = "button";
        button.dataset.backend = backend;
        button.textContent = NAMES[backend];
        button.addEventListener("click", () => choose(backend));
        bar.append(button);
      }
    }
    // The bar sticks below the page's head, which is as high as its words need.
    const head = document.querySelector(".bd-header");
    new ResizeObserver(() => {
      root.style.setProperty("--header-height", `${head.offsetHeight}px`);
    }).observe(head);
    document.addEventListener("click", (event) => {
      const tab = event.target.closest?.('.sd-tab-label[data-sync-group="backend"]');
      if (tab) choose(tab.dataset.syncId);
    });
    // An arrow key changes one tab alone. A click on it changes them all.
    document.addEventListener("change", (event) => {
      const tab = event.target.nextElementSibling;
      const isBackend = tab?.matches('.sd-tab-label[data-sync-group="backend"]');
      if (isBackend && tab.dataset.syncId !== chosen[0]) tab.click();
    });
    show();
  });
})();
