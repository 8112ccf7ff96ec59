"use strict";
(() => {
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);
  if (!data.backends.length) return;
  root.classList.add("script");

  // The same dashes as the keys in page.css, so that no line is known by its colour alone.
  const DASHES = [[], [9, 4], [3, 4], [10, 4, 3, 4], [6, 6]];
  const WHOLE = [0, 1, 2, 3, 4, 5, 6, 7].flatMap((power) => [1, 2, 5].map((step) => step * 10 ** power));
  const shown = new Set(data.backends.map((backend) => backend.name));
  const readout = document.getElementById("readout");
  let printing = false;
  let charts = [];

  // Paper is white whatever the screen's scheme is.
  const color = (name) =>
    getComputedStyle(printing ? document.getElementById("paper") : root).getPropertyValue(name).trim();
  const format = (digits) => (value) =>
    value == null ? "–" : value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(1) : value.toFixed(digits);

  function tooltip(spec) {
    let tip;
    return {
      hooks: {
        init: (plot) => {
          tip = document.createElement("div");
          tip.className = "tip";
          tip.hidden = true;
          plot.over.appendChild(tip);
          plot.over.addEventListener("mouseleave", () => { tip.hidden = true; });
        },
        setCursor: (plot) => {
          const index = plot.cursor.idx;
          if (index == null || plot.cursor.left < 0) { tip.hidden = true; return; }
          tip.replaceChildren(...lines(plot, spec, index).map(([name, value]) => {
            const line = document.createElement("p");
            for (const text of [name, value]) {
              const span = document.createElement("span");
              span.textContent = text;
              line.appendChild(span);
            }
            return line;
          }));
          tip.hidden = false;
          const left = plot.valToPos(plot.data[0][index], "x");
          const room = plot.over.clientWidth - tip.offsetWidth;
          const beside = left + 12 > room ? left - tip.offsetWidth - 12 : left + 12;
          tip.style.left = `${Math.max(0, Math.min(beside, room))}px`;
          tip.style.top = "4px";
        },
      },
    };
  }

  function lines(plot, spec, index) {
    const values = [[spec.axis, String(plot.data[0][index])]];
    plot.series.forEach((series, i) => {
      const value = plot.data[i] && plot.data[i][index];
      if (i && series.show && value != null) values.push([series.label, spec.text(value)]);
    });
    return values;
  }

  function powers(plot, axis, low, high) {
    const ticks = [];
    for (let power = Math.ceil(Math.log10(low) - 1e-9); power <= Math.log10(high) + 1e-9; power += 1) {
      ticks.push(Number(`1e${power}`));
    }
    return ticks;
  }

  // A share is neither below 0 nor above 1, and its axis has no room for such values.
  function withinOne(plot, low, high) {
    if (low == null) return [0, 1];
    const [bottom, top] = uPlot.rangeNum(low, high, 0.1, true);
    return [Math.max(0, bottom), Math.min(1, top)];
  }

  function draw(box, spec) {
    const ink = color("--muted"), grid = { stroke: color("--line"), width: 1 };
    const font = "12px system-ui, sans-serif";
    const lone = spec.x.length === 1;
    const series = data.backends.map((backend) => ({
      label: backend.title,
      backend: backend.name,
      show: shown.has(backend.name),
      stroke: color(`--c${backend.color}`),
      width: 2,
      dash: DASHES[backend.color],
      points: { show: spec.points || lone, size: 7 },
    }));
    const values = spec.series.slice();
    if (spec.extra) {
      series.push({
        label: spec.extra.label, stroke: ink, width: 1.5, dash: [2, 3],
        points: { show: lone, size: 5, fill: ink },
      });
      values.push(spec.extra.values);
    }
    const axis = (more) => ({ stroke: ink, grid, ticks: grid, font, labelFont: font, labelSize: 18, ...more });
    const plot = new uPlot({
      // A width that fits a sheet of A4 either way up.
      width: printing ? 640 : Math.max(200, box.clientWidth),
      height: printing ? 240 : Math.max(220, Math.min(320, box.clientWidth * 0.6)),
      legend: { show: false },
      cursor: { y: false, points: { size: 8 } },
      scales: {
        x: { time: false, range: lone ? [spec.x[0] - 1, spec.x[0] + 1] : undefined },
        y: spec.log ? { distr: 3 } : spec.share ? { range: withinOne } : {},
      },
      axes: [
        axis({ label: spec.axis, size: 34, incrs: WHOLE }),
        axis(spec.log
          ? { size: 58, splits: powers, filter: (u, splits) => splits, values: (u, splits) => splits.map((v) => v.toExponential(0)) }
          : { size: 58 }),
      ],
      series: [{}, ...series],
      plugins: [tooltip(spec)],
    }, [spec.x, ...values], box);
    return plot;
  }

  function specs() {
    const chosen = data.scores[Number(document.getElementById("score").value)] || data.scores[0];
    const entries = [
      ["loss-chart", { axis: "step", x: data.steps, series: data.losses, text: format(5) }],
    ];
    if (data.checked.length) {
      entries.push(["distance-chart", {
        axis: "step", x: data.checked, series: data.distances, log: true, points: true,
        text: (v) => v.toExponential(1), extra: { label: "bound", values: data.bound },
      }]);
    }
    if (chosen) {
      entries.push(["score-chart", {
        axis: "epoch", x: data.epochs, series: chosen.series, points: true, text: format(4),
        share: Boolean(chosen.constant), extra: chosen.constant && { label: "always background", values: chosen.constant },
      }]);
    }
    return entries;
  }

  function drawAll() {
    for (const { plot } of charts) plot.destroy();
    charts = specs().map(([id, spec]) => {
      const box = document.getElementById(id);
      box.replaceChildren();
      if (!spec.series.some((line) => line.some((value) => value != null))) {
        box.textContent = "Too few backends to compare.";
        return null;
      }
      return { box, spec, plot: draw(box, spec) };
    }).filter(Boolean);
  }

  for (const button of document.querySelectorAll(".toggle")) {
    button.addEventListener("click", () => {
      const name = button.dataset.backend;
      const on = !shown.has(name);
      shown[on ? "add" : "delete"](name);
      button.setAttribute("aria-pressed", String(on));
      for (const { plot } of charts) {
        plot.series.forEach((series, i) => {
          if (series.backend === name) plot.setSeries(i, { show: on });
        });
      }
    });
  }

  function read(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const chart = charts.find(({ box }) => box === event.currentTarget);
    if (!move || !chart) return;
    event.preventDefault();
    const { plot, spec } = chart;
    const last = spec.x.length - 1;
    const at = plot.cursor.idx == null || plot.cursor.left < 0 ? (move > 0 ? -1 : last + 1) : plot.cursor.idx;
    const index = Math.max(0, Math.min(last, at + move));
    plot.setCursor({ left: plot.valToPos(spec.x[index], "x"), top: 10 });
    readout.textContent = lines(plot, spec, index).map((pair) => pair.join(" ")).join(", ");
  }
  for (const box of document.querySelectorAll(".chart")) box.addEventListener("keydown", read);

  document.getElementById("score").addEventListener("change", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("beforeprint", () => { printing = true; drawAll(); });
  addEventListener("afterprint", () => { printing = false; drawAll(); });
  let width = root.clientWidth;
  addEventListener("resize", () => {
    if (root.clientWidth === width || printing) return;
    width = root.clientWidth;
    drawAll();
  });
  drawAll();
})();
