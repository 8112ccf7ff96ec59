// Names for a screen reader, which the theme's own buttons lack.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll(".search-button-field")) {
    button.setAttribute("aria-label", button.textContent.replace(/\s+/g, " ").trim());
  }
  for (const toggle of document.querySelectorAll(".bd-sidebar-primary summary")) {
    const link = toggle.closest("li").querySelector("a");
    toggle.setAttribute("aria-label", link.textContent.trim());
  }
});
