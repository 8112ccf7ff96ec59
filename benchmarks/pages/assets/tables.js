"use strict";
// Every table of a page: a click on a head sorts it, and it is copied as Markdown or saved as CSV.
(() => {
  const FACTORS = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };
  const NUMBER = /^[+-]?[\d,]*\.?\d+(?:e[+-]?\d+)?(?=$|[\s%[])/i;
  const isPart = (row) => row.cells.length === 1 || row.querySelector("th[scope=rowgroup]") !== null;
  const isFixed = (row) => isPart(row) || row.classList.contains("baseline");
  const spaced = (text) => text.replace(/\s+/g, " ").trim();

  // The text of a cell without its small print, its pictures and marks; and the small print.
  function read(cell) {
    const copy = cell.cloneNode(true);
    const notes = [...copy.querySelectorAll("small")].map((small) => spaced(small.textContent));
    for (const part of copy.querySelectorAll("small, svg, [aria-hidden=true]")) part.remove();
    return { text: spaced(copy.textContent), note: notes.filter(Boolean).join("; ") };
  }

  // A row's cells, one for each column: what spans several is followed by empty ones.
  function cells(row) {
    return [...row.cells].flatMap((cell) => [cell, ...Array(cell.colSpan - 1).fill(null)]);
  }

  function value(text) {
    const [number] = text.match(NUMBER) ?? [];
    if (number === undefined) return null;
    const unit = text.slice(number.length).trim().split(" ")[0];
    return Number(number.replaceAll(",", "")) * (FACTORS[unit] ?? 1);
  }

  function heads(table) {
    const lines = [...table.tHead.rows].map(cells);
    // Above the last line of heads stand those of groups of columns.
    return lines.at(-1).map((cell, column) => {
      const above = lines.slice(0, -1).map((line) => line.slice(0, column + 1).findLast(Boolean));
      const { text, note } = read(cell);
      return { cell, text: [...above.map((group) => read(group).text), text].filter(Boolean).join(" "), note };
    });
  }

  function sort(table, column, direction) {
    for (const body of table.tBodies) {
      const rows = [...body.rows];
      rows.forEach((row, index) => { row.dataset.first ??= index; });
      const keys = new Map(rows.map((row) => {
        const cell = cells(row)[column];
        return [row, cell ? read(cell).text : ""];
      }));
      const numeric = rows.some((row) => !isFixed(row) && value(keys.get(row)) !== null);
      const compare = (a, b) => {
        if (!direction) return a.dataset.first - b.dataset.first;
        // Parts stay at the top of their rows, always background at the end, rows without a value before it.
        const rank = (row) => isPart(row) ? 0 : isFixed(row) ? 3 : numeric && value(keys.get(row)) === null ? 2 : 1;
        if (rank(a) !== rank(b) || rank(a) !== 1) return rank(a) - rank(b) || a.dataset.first - b.dataset.first;
        const [x, y] = [keys.get(a), keys.get(b)];
        const order = numeric ? value(x) - value(y) : x.localeCompare(y, "en", { numeric: true });
        return direction * order || a.dataset.first - b.dataset.first;
      };
      body.append(...rows.sort(compare));
    }
  }

  function lines(table) {
    const names = heads(table).map(({ text, note }) => ({ text, note }));
    const rows = [];
    let part = "";
    let parted = false;
    for (const row of [...table.tBodies].flatMap((body) => [...body.rows])) {
      if (isPart(row)) {
        part = read(row.cells[0]).text;
        parted = true;
      } else if (!row.hidden) {
        rows.push({ part, cells: cells(row).map((cell) => cell ? read(cell) : { text: "", note: "" }) });
      }
    }
    const first = (text) => parted ? [{ text, note: "" }] : [];
    const all = [[...first("Part"), ...names], ...rows.map((row) => [...first(row.part), ...row.cells])];
    // A picture has no text.
    return all.map((line) => line.filter((_, column) => all.slice(1).some((row) => row[column]?.text || row[column]?.note)));
  }

  function markdown(table) {
    const [head, ...rows] = lines(table).map((line) =>
      line.map(({ text, note }) => (note ? `${text} (${note})` : text).replace(/[\\|]/g, "\\$&")));
    return [head, head.map(() => "---"), ...rows].map((line) => `| ${line.join(" | ")} |\n`).join("");
  }

  function csv(table) {
    const all = lines(table);
    const noted = all[0].map((_, column) => all.slice(1).some((line) => line[column]?.note));
    const field = (text) => {
      const plain = value(text) !== null && /^[+-]?[\d,.]+$/.test(text) ? text.replaceAll(",", "") : text;
      // A program for tables would compute what begins like a formula.
      const safe = /^[=+\-@]/.test(plain) && value(plain) === null ? `'${plain}` : plain;
      return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    };
    return all.map((line, index) => line.flatMap(({ text, note }, column) => {
      const beside = index ? note : note || `${text} (note)`;
      return noted[column] ? [field(text), field(beside)] : [field(text)];
    }).join(",") + "\r\n").join("");
  }

  async function copy(text) {
    // Where a page is no secure context there is no clipboard, but a selection can be copied.
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const area = document.body.appendChild(document.createElement("textarea"));
    area.value = text;
    area.select();
    document.execCommand("copy");
    area.remove();
  }

  function save(text, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  function fileName(table) {
    const heading = table.closest("section").querySelector("h2, h3").textContent;
    const words = `${heading} ${table.caption.id.replace("caption", "")}`.toLowerCase();
    return words.replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
  }

  function button(text, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", act);
    return made;
  }

  for (const table of document.querySelectorAll(".scroll > table")) {
    const all = heads(table);
    all.forEach(({ cell }, column) => {
      if (cell.tagName !== "TH" || cell.classList.contains("line")) return;
      const sorter = button("", () => {
        const before = cell.getAttribute("aria-sort");
        for (const other of all) other.cell.removeAttribute("aria-sort");
        const after = { ascending: "descending", descending: null }[before] ?? (before ? null : "ascending");
        if (after) cell.setAttribute("aria-sort", after);
        sort(table, column, { ascending: 1, descending: -1 }[after] ?? 0);
      });
      sorter.className = "sort";
      sorter.append(...cell.childNodes);
      cell.append(sorter);
    });
    const tools = document.createElement("p");
    tools.className = "tools";
    const said = document.createElement("span");
    said.setAttribute("role", "status");
    const caption = table.caption.id;
    tools.append(
      button("Copy as Markdown", async () => {
        said.textContent = await copy(markdown(table)).then(() => "Copied", () => "The browser refused");
        setTimeout(() => { said.textContent = ""; }, 3000);
      }),
      button("Download CSV", () => save(csv(table), `${fileName(table)}.csv`)),
      said,
    );
    for (const made of tools.querySelectorAll("button")) made.setAttribute("aria-describedby", caption);
    table.parentElement.after(tools);
  }
})();
