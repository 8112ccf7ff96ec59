"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("script");
  const charts = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("view");
  const FILTERS = ["machine", "case", "batch_size", "precision"];
  // The same dashes as the keys in page.css, so that no line is known by its colour alone.
  const DASHES = [[], [9, 4], [3, 4], [10, 4, 3, 4], [6, 6]];
  const WHOLE = [0, 1, 2, 3, 4, 5, 6, 7].flatMap((power) => [1, 2, 5].map((step) => step * 10 ** power));
  const groups = [...document.querySelectorAll(".group")];
  for (const row of document.querySelectorAll("tr[data-backend]")) {
    row.dataset.place = [...row.parentNode.children].indexOf(row);
  }

  const chosen = () => Object.fromEntries(new FormData(form));
  const fits = (element, name, value) => !value || element.dataset[camel(name)] === value;
  const camel = (name) => name.replace(/_./, (part) => part[1].toUpperCase());

  function show() {
    const view = chosen();
    let count = 0;
    for (const group of groups) {
      const rows = [...group.querySelectorAll("tr[data-backend]")];
      for (const row of rows) row.hidden = !fits(row, "track", view.track);
      group.hidden =
        FILTERS.some((name) => !fits(group, name, view[name])) ||
        rows.every((row) => row.hidden);
      if (!group.hidden) count += rows.filter((row) => !row.hidden).length;
      // A row without a figure comes last, whatever the order.
      const place = (row) => Number(row.dataset[view.sort || "place"] ?? Infinity);
      rows.sort((a, b) => place(a) - place(b) || a.dataset.place - b.dataset.place);
      rows[0].parentNode.append(...rows);
      for (const head of group.querySelectorAll("[aria-sort]")) head.removeAttribute("aria-sort");
    }
    const query = new URLSearchParams(Object.entries(view).filter(([, value]) => value));
    document.getElementById("link").href = `#${query}`;
    document.getElementById("shown").textContent = `${count} rows shown`;
    document.querySelectorAll("details.samples[open]").forEach(draw);
  }

  // An address such as #case=train&sort=rate opens the page on that view.
  function open() {
    const address = new URLSearchParams(location.hash.slice(1));
    if (![...FILTERS, "track", "sort"].some((name) => address.has(name))) return;
    for (const select of form.querySelectorAll("select")) {
      const value = address.get(select.name) ?? "";
      if ([...select.options].some((option) => option.value === value)) select.value = value;
    }
  }

  const color = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  function draw(details) {
    const box = details.querySelector(".chart");
    const { rounds, lines } = charts[Number(box.id.split("-")[1])];
    const track = chosen().track;
    const shown = lines.filter((line) => !track || line.track === track);
    box.replaceChildren();
    const ink = color("--muted"), grid = { stroke: color("--line"), width: 1 };
    const axis = { stroke: ink, grid, ticks: grid, font: "12px system-ui, sans-serif" };
    new uPlot({
      width: Math.max(200, box.clientWidth),
      height: 260,
      scales: { x: { time: false }, y: { range: (plot, low, high) => [0, high * 1.05] } },
      axes: [{ ...axis, label: "round, process after process", incrs: WHOLE }, { ...axis, size: 58 }],
      series: [{ label: "round" }, ...shown.map((line) => ({
        label: line.title,
        stroke: color(`--c${line.color}`),
        width: line.track === "default" ? 2.5 : 1.2,
        dash: DASHES[line.color],
        points: { show: true, size: 6 },
        value: (plot, value) => (value == null ? "–" : value.toPrecision(3)),
      }))],
    }, [rounds, ...shown.map((line) => line.values)], box);
  }

  for (const details of document.querySelectorAll("details.samples")) {
    details.addEventListener("toggle", () => details.open && draw(details));
  }
  form.addEventListener("change", () => {
    show();
    history.replaceState(null, "", document.getElementById("link").href);
  });
  addEventListener("hashchange", () => { open(); show(); });
  addEventListener("resize", () => document.querySelectorAll("details.samples[open]").forEach(draw));
  open();
  show();
})();
