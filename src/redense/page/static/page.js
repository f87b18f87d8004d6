// Draws the charts of a page from its data, with legends, tables and buttons that keyboards and screen readers reach.
"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const LIGHT = ["#444444", "#b34a00", "#0a5fa8", "#00735c", "#8a3d84", "#7a5c00", "#b0235f", "#3d6b7d"];
  const DARK = ["#c8c8c8", "#ff9d4d", "#6fb7ff", "#3fd0a8", "#e39ae0", "#d9bb45", "#ff8fb8", "#8fc4d6"];
  const DASHES = ["dash", "dot", "solid", "dashdot", "longdash", "longdashdot", "8px,2px,2px,2px,2px,2px", "3px,3px"];
  const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down"];
  const PATTERNS = ["", "/", "x", ".", "\\", "+", "-", "|"];
  const SHAPES = ["M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0", "M-4-4h8v8h-8z", "M0-5l5 5l-5 5l-5-5z", "M0-5l5 9h-10z", "M-1.5-5h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z", "M-4-4l8 8M4-4l-8 8", "M0-5l1.5 3.5h3.5l-2.8 2.5l1 3.8l-3.2-2.3l-3.2 2.3l1-3.8l-2.8-2.5h3.5z", "M0 5l5-9h-10z"];
  const STROKES = ["7 4", "2 3", "", "7 3 2 3", "11 4", "11 3 2 3", "8 2 2 2 2 2", "3 3"];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const phone = matchMedia("(max-width: 34rem)");
  let printing = false;

  const element = (name, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  // the drawing library reads a few tags in text; names from outside are shown as they are
  // and formulas between two dollar signs
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/\$/g, "&#36;");
  // hovering and tables have the whole name
  const short = (name) => (name.length > 22 ? `${name.slice(0, 10)}\u2026${name.slice(-11)}` : name);
  const number = (value) => (Math.abs(value) >= 1e4 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(4))));
  const colour = (series) => (dark.matches && !printing ? DARK : LIGHT)[series.look % LIGHT.length];
  const symbol = (series) => (series.symbol ?? series.look) % SYMBOLS.length;
  const entry = (series) => series.group || series.name;
  const where = (series, place) => (series.places ? series.places[place] : number(series.x[place]));
  const interval = (series, place) => {
    const ends = series.intervals && series.intervals[place];
    return ends ? `[${number(ends[0])}, ${number(ends[1])}]` : "";
  };

  function trace(series, chart, hidden) {
    const ink = colour(series);
    const kind = series.kind || "line";
    const texts = series.x.map((_, place) =>
      `<b>${plain(series.name)}</b><br>${plain(where(series, place))}: ${number(series.y[place])} ${interval(series, place)}`);
    const common = { name: plain(series.name), x: series.x, y: series.y, text: texts, hovertemplate: "%{text}<extra></extra>", visible: !hidden, showlegend: false };
    if (kind === "bars")
      return { ...common, type: "bar", textposition: "none", marker: { color: ink, pattern: { shape: PATTERNS[series.look % PATTERNS.length], fillmode: "overlay", fgcolor: dark.matches && !printing ? "#15171a" : "#ffffff", fgopacity: 0.55, size: 6 } } };
    const drawn = { ...common, type: "scatter", mode: kind === "level" || kind === "steps" ? "lines" : "lines+markers",
      line: { color: ink, dash: DASHES[series.look % DASHES.length], width: series.strong ? 3.5 : 1.8, shape: kind === "steps" ? "hvh" : "linear" },
      marker: { color: ink, symbol: SYMBOLS[symbol(series)], size: kind === "curve" ? 6 : 7, maxdisplayed: kind === "curve" ? 9 : 0 } };
    if (series.ends) {
      const last = series.x.length - 1;
      drawn.marker.symbol = series.x.map((_, place) => SYMBOLS[symbol(series)] + (place === 0 && last > 0 ? "-open" : ""));
      drawn.marker.size = series.x.map((_, place) => (place === last ? 12 : place === 0 ? 10 : 4));
      drawn.marker.opacity = 1;
    }
    if (series.intervals && series.intervals.some(Boolean)) {
      const reach = (side) => series.intervals.map((ends, place) => (ends ? Math.abs(ends[side] - series.y[place]) : 0));
      drawn.error_y = { type: "data", symmetric: false, array: reach(1), arrayminus: reach(0), color: ink, thickness: 1.4, width: 4 };
    }
    if (kind === "level" && series.intervals) { // its end is its value, with a bar or without
      drawn.mode = "lines+markers";
      drawn.marker.size = series.x.map((_, place) => (place === series.x.length - 1 ? 9 : 0));
      drawn.marker.line = { width: 0 }; // sizes of their own would have an outline
      drawn.marker.opacity = 1;
    }
    return drawn;
  }

  function layout(chart, view) {
    const style = getComputedStyle(document.documentElement);
    const tone = (name, print) => (printing ? print : style.getPropertyValue(name).trim());
    const ink = tone("--ink", "#000"), line = tone("--line", "#bbb"), soft = tone("--soft", "#444");
    const axis = (given, ends = given.ends) => {
      const made = { title: { text: plain(given.title), standoff: 8, font: { size: 13 } }, gridcolor: line, linecolor: soft, zeroline: false, automargin: true, ticks: "outside", tickcolor: soft };
      if (given.log) Object.assign(made, { type: "log", exponentformat: "none", dtick: 1, minor: { showgrid: false } });
      if (ends) made.range = given.log ? ends.map(Math.log10) : ends;
      if (given.ticks) Object.assign(made, { tickmode: "array", tickvals: given.ticks.map((tick) => tick[0]), ticktext: given.ticks.map((tick) => plain(short(tick[1]))), ticklabeloverflow: "allow", ...(given.ticks.some((tick) => tick[1].length > 6) ? { tickangle: -40 } : {}) });
      return made;
    };
    const marks = view.marks || [];
    const named = marks.length <= 8 ? marks : []; // names of more would cover each other
    return {
      xaxis: axis(chart.x, view.ends?.[0]), yaxis: axis(chart.y, view.ends?.[1]), paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, family: "system-ui, sans-serif", size: 12 }, margin: { l: 56, r: 16, t: named.length ? 26 : 12, b: 48 },
      hovermode: "closest", hoverlabel: { bgcolor: tone("--raised", "#fff"), bordercolor: soft, font: { color: ink } },
      dragmode: phone.matches ? false : "zoom", barmode: "group", bargap: 0.3,
      shapes: marks.map(([x]) => ({ type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper", line: { color: soft, width: 1, dash: "dot" } })),
      annotations: named.map(([x, text]) => ({ x, y: 1, yref: "paper", yanchor: "bottom", xanchor: "left", text: plain(text), showarrow: false, font: { size: 11, color: soft } })),
      ...(printing ? { width: 640, height: 300 } : { autosize: true }),
    };
  }

  function sample(series) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    for (const [name, value] of [["width", 34], ["height", 14], ["viewBox", "-17 -7 34 14"], ["aria-hidden", "true"]]) svg.setAttribute(name, value);
    const path = (d, dashes, fill) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", "path");
      for (const [name, value] of [["d", d], ["stroke", colour(series)], ["stroke-width", series.strong ? 3.5 : 1.8], ["stroke-dasharray", dashes], ["fill", fill]]) made.setAttribute(name, value);
      svg.append(made);
    };
    if (series.kind === "bars") path("M-8-5h16v10h-16z", "", colour(series));
    else {
      path("M-17 0H17", STROKES[series.look % STROKES.length], "none");
      if (series.kind === "level" ? series.intervals : series.kind !== "steps") path(SHAPES[symbol(series)], "", colour(series));
    }
    return svg;
  }

  function table(chart, view) {
    const head = element("tr", {}, ...["series", chart.x.title, chart.y.title, "interval"].map((text) => element("th", { scope: "col", textContent: text })));
    // a level is one value, however long its line
    const once = (series, place) => series.kind !== "level" || series.y[0] !== series.y[1] || place === series.x.length - 1;
    const body = view.series.flatMap((series) => series.x.flatMap((_, place) => once(series, place) ? [place] : []).map((place) =>
      element("tr", {}, element("th", { scope: "row", textContent: series.name }),
        ...[where(series, place), number(series.y[place]), interval(series, place)].map((text) => element("td", { textContent: text })))));
    return element("table", {}, element("caption", { textContent: [chart.title, view.title].filter(Boolean).join(", ") }), element("thead", {}, head), element("tbody", {}, ...body));
  }

  class Drawn {
    constructor(figure) {
      this.chart = charts[figure.dataset.chart];
      this.name = `${this.chart.title}${figure.dataset.of}`;
      this.view = 0;
      this.hidden = new Set();
      this.plot = element("div", { className: "plot" });
      this.plot.setAttribute("role", "img");
      this.plot.setAttribute("aria-label", `Chart: ${this.name}. The table below has its values.`);
      this.legend = element("div", { className: "legend" });
      this.legend.setAttribute("role", "group");
      this.legend.setAttribute("aria-label", `Lines of ${this.name}, to show or hide`);
      const holder = element("div", { className: "wide", tabIndex: 0 });
      holder.setAttribute("role", "region");
      holder.setAttribute("aria-label", `Table of ${this.name}`);
      this.details = element("details", {}, element("summary", { textContent: "Table of these values" }), holder);
      this.details.addEventListener("toggle", () => this.fill());
      this.holder = holder;
      figure.append(this.tools(), this.plot, this.legend, this.details);
      this.draw();
    }
    tools() {
      const bar = element("div", { className: "tools" });
      if (this.chart.views.length > 1) {
        const select = element("select", {}, ...this.chart.views.map((view, place) => element("option", { value: String(place), textContent: view.title })));
        select.addEventListener("change", () => { this.view = Number(select.value); this.chosen.textContent = this.shown().title; this.draw(); this.fill(); });
        this.chosen = element("span", { className: "chosen", textContent: this.shown().title });
        bar.append(element("label", {}, element("span", { textContent: this.chart.choice }), select, this.chosen));
      }
      const button = (text, label, act) => {
        const made = element("button", { type: "button", textContent: text });
        made.setAttribute("aria-label", `${label}: ${this.name}`);
        made.addEventListener("click", act);
        bar.append(made);
      };
      button("+", "Zoom in", () => this.zoom(0.6));
      button("\u2212", "Zoom out", () => this.zoom(1 / 0.6));
      button("Reset", "Reset the view", () => this.draw());
      return bar;
    }
    shown() { return this.chart.views[this.view]; }
    draw() {
      const view = this.shown();
      Plotly.react(this.plot, view.series.map((series) => trace(series, this.chart, this.hidden.has(entry(series)))), { ...layout(this.chart, view), datarevision: Math.random() },
        { displayModeBar: false, responsive: !printing, displaylogo: false });
      const entries = [...new Map(view.series.map((series) => [entry(series), series])).entries()];
      this.legend.replaceChildren(...entries.map(([name, series]) => {
        const button = element("button", { type: "button" }, sample(series), element("span", { textContent: name }));
        button.setAttribute("aria-pressed", String(!this.hidden.has(name)));
        button.addEventListener("click", () => {
          if (!this.hidden.delete(name)) this.hidden.add(name);
          button.setAttribute("aria-pressed", String(!this.hidden.has(name)));
          const lines = view.series.flatMap((other, place) => (entry(other) === name ? [place] : []));
          Plotly.restyle(this.plot, { visible: !this.hidden.has(name) }, lines);
        });
        return button;
      }));
    }
    zoom(factor) {
      const changed = {};
      for (const name of ["xaxis", "yaxis"]) {
        const [low, high] = this.plot._fullLayout[name].range;
        const middle = (low + high) / 2, half = ((high - low) / 2) * factor;
        changed[`${name}.range`] = [middle - half, middle + half];
      }
      Plotly.relayout(this.plot, changed);
    }
    fill() { if (this.details.open) this.holder.replaceChildren(table(this.chart, this.shown())); }
  }

  const drawn = [...document.querySelectorAll("figure[data-chart]")].map((figure) => new Drawn(figure));
  const again = () => drawn.forEach((one) => one.draw());
  dark.addEventListener("change", again);
  phone.addEventListener("change", again);
  // on paper nothing can be opened
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")].filter((one) => !one.closest("figure"));
    opened.forEach((one) => { one.open = true; });
    printing = true;
    again();
  });
  addEventListener("afterprint", () => {
    opened.forEach((one) => { one.open = false; });
    printing = false;
    again();
  });
  // a hidden part has no width to draw in until it is opened
  document.querySelectorAll("details.part").forEach((part) => part.addEventListener("toggle", () => {
    drawn.filter((one) => part.contains(one.plot)).forEach((one) => Plotly.Plots.resize(one.plot));
  }));
  const hints = () => document.querySelectorAll(".wide").forEach((one) => one.classList.toggle("more", one.scrollWidth > one.clientWidth + 1));
  hints();
  addEventListener("resize", hints);
  document.querySelectorAll("details").forEach((one) => one.addEventListener("toggle", hints));
  document.documentElement.dataset.drawn = String(drawn.length);
})();
