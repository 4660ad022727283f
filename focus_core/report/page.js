"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const config = {
    responsive: true,
    displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    // The page is for reading offline: nothing is offered for upload.
    showSendToCloud: false,
    plotlyServerURL: "",
  };
  for (const data of document.querySelectorAll('script[id^="spec-"]')) {
    const spec = JSON.parse(data.textContent);
    Plotly.newPlot(data.id.replace("spec-", "figure-"), spec.data, spec.layout, config);
  }

  // Paper is narrower than a window, and a figure that is higher than a page would be cut in two.
  const paper = { width: 690, height: 940 };
  const heights = new Map();
  window.addEventListener("beforeprint", () => {
    for (const figure of document.querySelectorAll(".js-plotly-plot")) {
      heights.set(figure, figure.layout.height);
      Plotly.relayout(figure, { width: paper.width, height: Math.min(figure.layout.height, paper.height) });
    }
  });
  window.addEventListener("afterprint", () => {
    for (const [figure, height] of heights) Plotly.relayout(figure, { width: null, height, autosize: true });
    heights.clear();
  });

  const map = document.getElementById("figure-map");
  const outlines = read("outlines");
  const body = document.querySelector("#plot-table tbody");
  const rows = Array.from(body.rows);
  const shown = () => Array.from(body.rows).filter((row) => !row.hidden);

  // One row at a time stands in the tab order; the arrow keys move from there.
  const enter = (row) => {
    for (const other of rows) other.tabIndex = other === row ? 0 : -1;
  };
  const choose = (row) => {
    for (const other of rows) other.removeAttribute("aria-selected");
    row.setAttribute("aria-selected", "true");
    enter(row);
    const outline = outlines[Number(row.dataset.index)];
    Plotly.restyle(map, { x: [outline.x], y: [outline.y] }, [map.data.length - 1]);
  };
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (row) choose(row);
  });
  body.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr");
    const visible = shown();
    const step = { ArrowDown: 1, ArrowUp: -1, Home: -visible.length, End: visible.length }[event.key];
    if (event.key === "Enter" || event.key === " ") {
      choose(row);
    } else if (step) {
      const next = visible[Math.min(visible.length - 1, Math.max(0, visible.indexOf(row) + step))];
      enter(next);
      next.focus();
    } else {
      return;
    }
    event.preventDefault();
  });
  map.on("plotly_click", (event) => {
    const index = event.points[0].customdata;
    const row = rows.find((one) => one.dataset.index === String(index));
    if (row) {
      choose(row);
      row.scrollIntoView({ block: "nearest" });
    }
  });

  // The map shows what the table shows; of other plots the grey outline of the first trace is left.
  const drawn = map.data.slice();
  const draw = (visible) => {
    const numbers = new Set(visible.map((row) => Number(row.dataset.index)));
    const traces = drawn.map((trace, place) => {
      if (place === drawn.length - 1) return map.data.at(-1);
      if (trace.meta) {
        const rings = trace.meta.filter((number) => numbers.has(number)).map((number) => outlines[number]);
        return { ...trace, x: rings.flatMap((ring) => ring.x), y: rings.flatMap((ring) => ring.y) };
      }
      if (!trace.customdata) return trace;
      const kept = trace.customdata.flatMap((number, at) => (numbers.has(number) ? [at] : []));
      const part = { ...trace };
      for (const key of ["x", "y", "customdata", "hovertext"]) {
        if (Array.isArray(trace[key])) part[key] = kept.map((at) => trace[key][at]);
      }
      return part;
    });
    Plotly.react(map, traces, map.layout);
  };

  const text = document.getElementById("filter-text");
  const cls = document.getElementById("filter-class");
  const wrong = document.getElementById("filter-wrong");
  const filter = () => {
    const wanted = text.value.trim().toLowerCase();
    for (const row of rows) {
      row.hidden =
        !row.textContent.toLowerCase().includes(wanted) ||
        (cls.value !== "" && row.dataset.class !== cls.value) ||
        (wrong !== null && wrong.checked && row.dataset.wrong !== "1");
    }
    const visible = shown();
    if (visible.length && !visible.some((row) => row.tabIndex === 0)) enter(visible[0]);
    draw(visible);
    document.getElementById("filter-count").textContent = `${visible.length} of ${rows.length} plots`;
  };
  text.closest("form").addEventListener("submit", (event) => event.preventDefault());
  for (const control of [text, cls, wrong]) control?.addEventListener("input", filter);

  const heads = Array.from(document.querySelectorAll("#plot-table thead th"));
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      const order =
        head.dataset.kind === "number"
          ? (a, b) => Number(value(a, column)) - Number(value(b, column))
          : (a, b) => value(a, column).localeCompare(value(b, column), undefined, { numeric: true });
      for (const other of heads) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      rows.sort((a, b) => sign * order(a, b));
      body.append(...rows);
    });
  });
})();
