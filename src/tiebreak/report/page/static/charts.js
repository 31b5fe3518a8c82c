"use strict";
// The charts. Each entry of CHARTS gives traces and layout from DATA; colours follow the page's theme.

const DATA = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const percent = (share, digits = 1) => (100 * share).toFixed(digits);
const range = (count) => Array.from({ length: count }, (_, i) => i);
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const NARROW = () => innerWidth < 600;
const SHARE = { minallowed: 0, maxallowed: 100 }; // no axis of a percentage goes beyond
const hidden = new Set(); // labels that a legend has unticked
const shown = () => DATA.contenders.filter((c) => !hidden.has(c.label));
const WITH_LEGEND = ["loss-chart", "acc-chart", "setting-chart", "tuning-chart", "cost-chart", "reliability-chart"];

/** Text that Plotly shows as it is: it reads some tags, entities and formulas in labels. */
function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/\$/g, "&#36;");
}

function cssColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function faint(colour, opacity) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return `rgba(${r},${g},${b},${opacity})`;
}

function axis(title, more = {}) {
  const line = cssColour("--line");
  return {
    title: { text: title, font: { size: 13 } }, gridcolor: line, zerolinecolor: line, linecolor: line,
    automargin: true, fixedrange: true, ...more,
  };
}

function baseLayout(more) {
  return {
    font: { family: "system-ui, sans-serif", size: 13, color: cssColour("--ink") },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 48, r: 12, t: 12, b: 40 }, height: 320, dragmode: false, hovermode: "closest",
    hoverlabel: { font: { size: 13 } }, showlegend: false,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal" }, ...more,
  };
}

const CHARTS = {
  "verdict-chart"() {
    const rows = DATA.verdicts, ink = cssColour("--ink");
    const reach = Math.min(100, Math.max(0.005, ...rows.flatMap((v) => [Math.abs(v.low), Math.abs(v.high)])) * 115);
    const name = (label) => shortened(shortOf(label), NARROW() ? 13 : 24);
    const each = rows.length > 12 ? 26 : 44;
    const one = NARROW() && rows.length > 1 && rows.every((v) => v.a === rows[0].a); // named in the axis alone
    const trace = {
      type: "scatter", mode: "markers", x: rows.map((v) => 100 * v.difference), y: range(rows.length),
      marker: { size: each > 30 ? 13 : 9, color: rows.map((v) => colourOf(v.a)) },
      error_x: {
        type: "data", symmetric: false, thickness: 3, width: 8, color: ink,
        array: rows.map((v) => 100 * (v.high - v.difference)),
        arrayminus: rows.map((v) => 100 * (v.difference - v.low)),
      },
      text: rows.map((v) => plain(`${v.a} − ${v.b}`)), hovertemplate: "%{text}<br>%{x:.2f} points<extra></extra>",
    };
    return [[trace], {
      height: 90 + each * rows.length,
      xaxis: axis(one ? plain(`${name(rows[0].a)} − …, points`) : "points of test accuracy", { nticks: NARROW() ? 5 : 9, range: [-reach, reach], zeroline: true, zerolinewidth: 2, zerolinecolor: ink }),
      yaxis: axis("", {
        tickvals: range(rows.length), range: [rows.length - 0.5, -0.5], showgrid: false, zeroline: false,
        ticktext: rows.map((v) => plain(one ? `− ${name(v.b)}` : `${name(v.a)} − ${name(v.b)}`)),
      }),
    }];
  },
  "loss-chart": () => curves("loss", "loss (nats)", 1),
  "acc-chart": () => curves("acc", "accuracy (%)", 100),
  "cost-chart"() {
    const by = element("cost-axis").value;
    const titles = { seconds: "training seconds of a run", flops: "FLOPs of one image (forward)", params: "parameters" };
    const cost = (c) => (by === "seconds" ? c.costs.seconds.mean : c.costs[by]);
    const contenders = shown(), costs = contenders.map(cost);
    const traces = contenders.map((c) => ({
      type: "scatter", mode: contenders.length > 6 ? "markers" : "markers+text", x: [cost(c)], y: [100 * c.accuracy.mean], name: plain(c.label),
      text: [plain(c.short)], textposition: "top right", cliponaxis: false,
      marker: { color: c.colour, size: 14 },
      error_y: { type: "data", array: [100 * (c.accuracy.sd || 0)], color: c.colour },
      error_x: { type: "data", array: [by === "seconds" ? c.costs.seconds.sd || 0 : 0], color: c.colour },
      hovertemplate: `${plain(c.label)}<br>%{y:.1f}%, %{x:.4s}<extra></extra>`,
    }));
    const least = Math.min(...costs), most = Math.max(...costs), wide = most > 8 * least && least > 0;
    const limits = wide ? [Math.log10(least) - 0.4, Math.log10(most) + 0.4] : [0, 1.25 * most];
    const scores = contenders.map((c) => 100 * c.accuracy.mean);
    const room = Math.max(2, 0.4 * (Math.max(...scores) - Math.min(...scores)));
    const from = Math.max(0, Math.min(...scores) - room), to = Math.min(100, Math.max(...scores) + room);
    return [traces, {
      xaxis: axis(titles[by], { type: wide ? "log" : "linear", range: limits }),
      yaxis: axis("test accuracy (%)", { range: [from, to] }),
    }];
  },
  "setting-chart"() {
    const name = element("setting").value, values = DATA.tuning.flatMap((t) => t.settings[name] || []);
    const wide = Math.min(...values) > 0 && Math.max(...values) > 8 * Math.min(...values);
    const traces = DATA.tuning.filter((t) => !hidden.has(t.label)).map((t) => ({
      type: "scatter", mode: "markers", name: plain(t.label), x: t.settings[name], y: t.accuracy.map((value) => 100 * value),
      marker: { color: colourOf(t.label), size: 9, opacity: 0.8 },
      hovertemplate: `${plain(t.label)}<br>${plain(name)} %{x:.3g}: %{y:.1f}%<extra></extra>`,
    }));
    return [traces, { xaxis: axis(plain(name), { type: wide ? "log" : "linear" }), yaxis: axis("validation accuracy (%)") }];
  },
  "tuning-chart"() {
    const tuned = DATA.tuning.filter((t) => t.curve && !hidden.has(t.label));
    const traces = tuned.flatMap((t) => {
      const colour = colourOf(t.label), x = range(t.curve.test_acc.length).map((i) => i + 1);
      const line = (values, more) => ({ type: "scatter", mode: "lines", x, y: values.map((value) => 100 * value), line: { width: 0 }, hoverinfo: "skip", ...more });
      return [
        line(t.curve.val_low, {}),
        line(t.curve.val_high, { fill: "tonexty", fillcolor: faint(colour, 0.12) }),
        line(t.curve.test_acc, {
          mode: "lines+markers", name: plain(t.label), line: { color: colour }, hoverinfo: "all",
          hovertemplate: `${plain(t.label)}<br>best of %{x}: %{y:.1f}%<extra></extra>`,
        }),
      ];
    });
    return [traces, { xaxis: axis("trials", { dtick: 1, tick0: 1 }), yaxis: axis("accuracy (%)") }];
  },
  "class-acc-chart"() {
    const { entries, a, b } = shownClasses();
    const traces = [a, b].filter(Boolean).map((c, side) => ({
      type: "scatter", mode: "markers", cliponaxis: false, marker: { color: c.colour, size: 10, symbol: side ? "diamond" : "circle" },
      x: entries.map((e) => 100 * (side ? e.b : e.a)), y: range(entries.length), hovertemplate: `${plain(c.label)}: %{x:.1f}%<extra></extra>`,
    }));
    return [traces, { ...classAxis(entries), xaxis: axis("accuracy within the class (%)", SHARE) }];
  },
  "class-diff-chart"() {
    const { entries, a, b } = shownClasses();
    if (!b) return [[], { height: 40 }];
    const ink = cssColour("--ink"), known = entries.map((e) => e.low !== null);
    const trace = {
      type: "bar", orientation: "h", y: range(entries.length), x: entries.map((e) => 100 * (e.a - e.b)),
      marker: { color: entries.map((e) => (e.a >= e.b ? a.colour : b.colour)), opacity: 0.75 }, width: 0.55,
      error_x: {
        type: "data", symmetric: false, color: ink, thickness: 1.5, width: 4,
        array: entries.map((e, i) => (known[i] ? 100 * (e.high - (e.a - e.b)) : 0)),
        arrayminus: entries.map((e, i) => (known[i] ? 100 * (e.a - e.b - e.low) : 0)),
      },
      hovertemplate: "%{x:.1f} points<extra></extra>",
    };
    return [[trace], {
      ...classAxis(entries),
      xaxis: axis(plain(`${a.short} − ${b.short} (points)`), { zeroline: true, zerolinecolor: ink, zerolinewidth: 2 }),
    }];
  },
  "reliability-chart"() {
    const scaled = element("scaled").checked;
    const diagonal = { type: "scatter", mode: "lines", x: [0, 100], y: [0, 100], line: { dash: "dot", color: cssColour("--quiet") }, hoverinfo: "skip", showlegend: false };
    const traces = shown().map((c) => {
      const bins = scaled ? c.reliabilityScaled : c.reliability;
      return {
        type: "scatter", mode: "lines+markers", cliponaxis: false, line: { color: c.colour },
        x: bins.map((bin) => 100 * bin.confidence), y: bins.map((bin) => 100 * bin.accuracy),
        marker: { color: c.colour, size: bins.map((bin) => 5 + 18 * Math.sqrt(bin.share)) },
        customdata: bins.map((bin) => 100 * bin.share),
        hovertemplate: `${plain(c.label)}: ` + "confidence %{x:.1f}%, accuracy %{y:.1f}%, %{customdata:.1f}% of images<extra></extra>",
      };
    });
    const whole = { range: [0, 100], dtick: 20 };
    return [[diagonal, ...traces], { height: NARROW() ? 340 : 420, xaxis: axis("confidence (%)", whole), yaxis: axis("accuracy (%)", whole) }];
  },
  "ladder-chart"() {
    const steps = DATA.explanation.ladder, gains = steps.map((s) => 100 * s.gain);
    const tops = gains.map((_, i) => gains.slice(0, i + 1).reduce((a, b) => a + b, 0)), last = tops.at(-1);
    const bars = {
      type: "waterfall", x: [...range(steps.length), steps.length], y: [...gains, last],
      measure: [...steps.map(() => "relative"), "total"], connector: { line: { color: cssColour("--line") } },
      text: [...gains, last].map((gain) => gain.toFixed(1)), hoverinfo: "skip",
      textposition: "inside", insidetextanchor: "start",  // away from the whisker
      increasing: { marker: { color: "#009E73" } }, decreasing: { marker: { color: "#D55E00" } }, totals: { marker: { color: "#0072B2" } },
    };
    const whiskers = {
      type: "scatter", mode: "markers", x: range(steps.length), y: tops, marker: { size: 1, color: cssColour("--ink") },
      error_y: {
        type: "data", symmetric: false, color: cssColour("--ink"),
        array: steps.map((s) => 100 * (s.ci_high - s.gain)), arrayminus: steps.map((s) => 100 * (s.gain - s.ci_low)),
      },
      hoverinfo: "skip",
    };
    const names = [...steps.map((s) => `${s.from} → ${s.to}`), "in all"].map(plain);
    return [[bars, whiskers], { xaxis: axis("", { tickvals: range(names.length), ticktext: names }), yaxis: axis("points") }];
  },
  "arrangement-chart"() {
    const found = DATA.explanation.arrangement, values = [found.lead, found.lead_permuted];
    const ends = [found.lead_interval, found.lead_permuted_interval];
    const reach = (end) => ends.map((interval, i) => (interval ? 100 * Math.abs(interval[end] - values[i]) : 0));
    const bars = {
      type: "bar", x: [0, 1], y: values.map((value) => 100 * value), text: values.map((value) => percent(value)),
      width: 0.5, marker: { color: ["#0072B2", "#E69F00"] }, hoverinfo: "skip",
      textposition: "inside", insidetextanchor: "start",  // away from the whisker
      error_y: { type: "data", symmetric: false, color: cssColour("--ink"), array: reach("ci_high"), arrayminus: reach("ci_low") },
    };
    return [[bars], {
      xaxis: axis("", { tickvals: [0, 1], ticktext: ["images as they are", "pixels permuted"] }),
      yaxis: axis("lead in points", { zeroline: true }),
    }];
  },
};

DATA.curves.forEach((curve, index) => {
  CHARTS[`why-curve-${index}`] = () => [
    curve.series.map((line) => ({
      type: "scatter", mode: "lines+markers", name: plain(line.label), x: line.x, y: line.y.map((y) => 100 * y),
      line: { color: colourOf(line.label) },
    })),
    { showlegend: true, xaxis: axis(plain(curve.axis), { type: curve.log ? "log" : "linear" }), yaxis: axis("test accuracy (%)") },
  ];
});

function colourOf(label) {
  return DATA.contenders.find((c) => c.label === label)?.colour || cssColour("--quiet");
}

function shortOf(label) {
  return DATA.contenders.find((c) => c.label === label)?.short ?? label;
}

/** Cut in the middle, for variants differ at their ends. */
function shortened(text, most = 24) {
  const head = Math.floor((most - 1) / 2);
  return text.length > most ? `${text.slice(0, head)}…${text.slice(head + 1 - most)}` : text;
}

function classAxis(entries) {
  return {
    height: 70 + 26 * entries.length,
    yaxis: axis("", {
      tickvals: range(entries.length), range: [entries.length - 0.4, -0.6], zeroline: false,
      ticktext: entries.map((e) => plain(shortened(DATA.classes[e.label], NARROW() ? 12 : 24))),
    }),
  };
}

/** Loss or accuracy of the contenders that are not hidden: the mean, a band from the lowest to the highest seed, single seeds if asked. */
function curves(quantity, title, scale) {
  const singles = element("single-seeds").checked, parts = element("show-train").checked ? ["train", "val"] : ["val"];
  const traces = [];
  for (const c of shown())
    for (const part of parts) {
      const runs = c.curves[`${part}_${quantity}`].map((run) => run.map((value) => scale * value));
      const epochs = range(Math.min(...runs.map((run) => run.length))).map((i) => i + 1), at = (i) => runs.map((run) => run[i]);
      const dash = part === "val" ? "solid" : "dash", name = plain(`${c.label}, ${part}`);
      const bound = (pick) => epochs.map((_, i) => pick(...at(i)));
      const edge = { type: "scatter", mode: "lines", x: epochs, line: { width: 0 }, hoverinfo: "skip", showlegend: false };
      if (runs.length > 1) traces.push({ ...edge, y: bound(Math.min) }, { ...edge, y: bound(Math.max), fill: "tonexty", fillcolor: faint(c.colour, 0.15) });
      if (singles) runs.forEach((run, s) => traces.push({
        type: "scatter", mode: "lines", x: run.map((_, i) => i + 1), y: run, line: { color: c.colour, width: 1, dash }, opacity: 0.6,
        showlegend: false, hovertemplate: `${name}, seed ${c.seeds[s]}: %{y:.3f}<extra></extra>`,
      }));
      const means = epochs.map((_, i) => mean(at(i)));
      traces.push({
        type: "scatter", mode: epochs.length > 1 ? "lines" : "markers", x: epochs, y: means, line: { color: c.colour, width: 2.5, dash }, marker: { color: c.colour, size: 9, symbol: part === "val" ? "circle" : "circle-open" },
        hovertemplate: `${name}, epoch %{x}: %{y:.3f}<extra></extra>`,
      });
      if (part === "val" && c.overfitting) {
        const epoch = c.overfitting.epoch;
        traces.push({
          type: "scatter", mode: "markers", x: [epoch], y: [means[epoch - 1]], showlegend: false,
          marker: { symbol: "diamond", size: 12, color: c.colour, line: { width: 2, color: cssColour("--paper") } },
          hovertemplate: `${plain(c.label)}: lowest validation loss, epoch ${epoch}<extra></extra>`,
        });
      }
    }
  const last = Math.max(...DATA.contenders.flatMap((c) => c.curves.val_loss.map((run) => run.length)));
  return [traces, {
    height: 340, yaxis: axis(title, scale === 100 ? SHARE : {}),
    xaxis: axis("epoch", { dtick: last > 12 ? undefined : 1, range: [0.8, last + 0.2], zeroline: false }),
  }];
}

function draw(id) {
  if (!element(id) || !window.Plotly) return;
  const [traces, layout] = CHARTS[id]();
  Plotly.react(id, traces, baseLayout(layout), { displayModeBar: false, responsive: true });
}

async function drawAll() {
  const script = document.createElement("script");
  script.textContent = new TextDecoder().decode(await inflate(element("plotly").textContent));
  document.head.append(script); // the page's policy knows its hash
  Object.keys(CHARTS).forEach(draw);
  document.documentElement.dataset.charts = "drawn";
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => Object.keys(CHARTS).forEach(draw));
// On paper: its colours, and widths that fit, for charts neither shrink nor change by themselves.
addEventListener("beforeprint", () => setPaper(true));
addEventListener("afterprint", () => setPaper(false));
function setPaper(on) {
  document.documentElement.classList.toggle("paper", on);
  showConfusion();
  for (const id of Object.keys(CHARTS).filter((id) => element(id)?.data)) {
    draw(id);
    Plotly.relayout(id, on ? { width: element(id).closest(".two") ? 330 : 670 } : { width: null, autosize: true });
  }
}
