"use strict";
// Tables that sort, the switch of contenders, confusion matrices, and the images behind a number.
// Text from the study goes into the page as text content only.

/** An element with properties, attributes (those with a dash, role and scope) and children. */
function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** A contender's name behind a dot, or another sign, of its colour. */
function nameOf(contender, sign = "") {
  const dot = make("span", { className: sign ? "" : "dot" }, sign ? `${sign}\u00a0` : "");
  dot.style.color = contender.colour;
  return make("span", { className: "name" }, dot, contender.label);
}

// Tables -------------------------------------------------------------------------------------------

document.querySelectorAll("table.sortable").forEach((table) => {
  table.querySelectorAll("thead button").forEach((button, column) =>
    button.addEventListener("click", () => sortBy(table, button.closest("th"), column)));
});

function sortBy(table, header, column) {
  const down = header.getAttribute("aria-sort") !== "descending";
  table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => row.children[column].dataset.key, sign = down ? -1 : 1;
  const rows = [...table.tBodies[0].rows];
  rows.sort((one, other) => sign * (column ? key(one) - key(other) : key(one).localeCompare(key(other))));
  table.tBodies[0].append(...rows);
}

// The two contenders that are looked at ------------------------------------------------------------

const MANY = 20, CONFUSED = 12; // classes; of more than MANY, those that say most are shown at first
const placeOf = (label) => DATA.contenders.findIndex((c) => c.label === label);
// As in the verdict: the better one first, so that a difference keeps its sign.
const [best] = DATA.verdicts;
const chosen = { a: best ? placeOf(best.a) : 0, b: best ? placeOf(best.b) : DATA.contenders.length > 1 ? 1 : null };
const whole = { classes: false, confusion: false }; // whether all classes were asked for

/** The chosen pair in the chosen order, whichever order it is stored in. Undefined where nothing pairs them. */
function chosenPair() {
  const { a, b } = chosen;
  const pair = DATA.pairs.find((p) => (p.a === a && p.b === b) || (p.a === b && p.b === a));
  if (!pair || pair.a === a) return pair;
  const classes = pair.classes.map((e) => ({
    ...e, a: e.b, b: e.a, low: e.high === null ? null : -e.high, high: e.low === null ? null : -e.low,
  }));
  const shares = { ...pair.shares, onlyA: pair.shares.onlyB, onlyB: pair.shares.onlyA };
  return { ...pair, a, b, classes: classes.reverse(), shares, onlyA: pair.onlyB, onlyB: pair.onlyA };
}

function chosenClasses() {
  const pair = chosenPair(), a = DATA.contenders[chosen.a];
  if (pair) return { entries: pair.classes, a, b: DATA.contenders[chosen.b] };
  const entries = a.confusion.map((row, label) => {
    const total = row.reduce((sum, count) => sum + count, 0);
    return { label, images: total / a.seeds.length, a: total ? row[label] / total : 0, low: null, high: null };
  });
  return { entries: entries.filter((e) => e.images), a, b: null };
}

document.querySelectorAll(".pair-a, .pair-b").forEach((select) =>
  select.addEventListener("change", () => {
    const side = select.classList.contains("pair-a") ? "a" : "b", other = side === "a" ? "b" : "a";
    const value = Number(select.value);
    if (chosen[other] === value) chosen[other] = chosen[side]; // choosing the other one swaps the two
    chosen[side] = value;
    showPair();
  }));

/** A button that shows all classes where only some are shown. */
function offerAll(section, text, show) {
  const place = element(`${section}-more`);
  if (DATA.classes.length <= MANY) return place.replaceChildren();
  const button = make("button", { type: "button" }, whole[section] ? "Show fewer" : `Show all ${DATA.classes.length} classes`);
  button.addEventListener("click", () => {
    whole[section] = !whole[section];
    show();
  });
  place.replaceChildren(make("span", {}, whole[section] ? `All ${DATA.classes.length} classes.` : text), button);
}

/** The classes of the charts: of many, those in which the two differ most, or that one gets wrong most. */
function shownClasses() {
  const { entries, a, b } = chosenClasses();
  if (entries.length <= MANY || whole.classes) return { entries, a, b };
  const some = b ? [...entries.slice(0, MANY / 2), ...entries.slice(-MANY / 2)] : [...entries].sort((x, y) => x.a - y.a).slice(0, MANY);
  return { entries: some, a, b };
}

function showPair() {
  for (const s of ["a", "b"]) document.querySelectorAll(`.pair-${s}`).forEach((each) => (each.value = chosen[s]));
  showClasses();
  showConfusion();
  showMistakes();
}

function showClasses() {
  draw("class-acc-chart");
  draw("class-diff-chart");
  const { entries, a, b } = chosenClasses(), name = (e) => DATA.classes[e.label];
  offerAll("classes", b ? `The ${MANY / 2} classes at each end.` : `The ${MANY} classes with the most mistakes.`, showClasses);
  element("classes-text").replaceChildren(...(b ? classesInWords(entries, a, b) : []));
  const columns = ["class", "images", a.label, ...(b ? [b.label, "difference", "from", "to"] : [])];
  const points = (value) => (value === null ? "–" : percent(value));
  const row = (e) => [e.images, percent(e.a), ...(b ? [percent(e.b), points(e.a - e.b), points(e.low), points(e.high)] : [])];
  element("classes-table").replaceChildren(make("table", {},
    make("thead", {}, make("tr", {}, ...columns.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...entries.map((e) =>
      make("tr", {}, make("th", { scope: "row" }, name(e)), ...row(e).map((text) => make("td", {}, String(text))))))));
}

/** Where each of the two leads most, and in how many classes that is sure; nothing where nothing differs. */
function classesInWords(entries, a, b) {
  const both = (e) => `${DATA.classes[e.label]} (${percent(e.a)}% against ${percent(e.b)}%)`;
  const first = entries[0], last = entries.at(-1), words = [], known = entries.filter((e) => e.low !== null);
  if (first && first.a > first.b) words.push(`${a.label} leads most on ${both(first)}.`);
  if (last && last.a < last.b) words.push(`${b.label} leads most on ${both(last)}.`);
  const sure = known.filter((e) => e.low > 0 || e.high < 0).length;
  if (!words.length) words.push(`${a.label} and ${b.label} get equally many images of every class right.`);
  else if (known.length) words.push(`In ${sure} of ${known.length} classes the interval leaves out 0.`);
  const empty = DATA.classes.filter((_, label) => !entries.some((e) => e.label === label && e.images));
  if (empty.length) words.push(`No test images: ${empty.join(", ")}.`);
  return [nameOf(a, "●"), " ", nameOf(b, "◆"), make("br"), words.join(" ")];
}

// Confusion matrices -------------------------------------------------------------------------------

function showConfusion() {
  const places = [chosen.a, chosen.b].filter((place) => place !== null), classes = confusedClasses(places);
  offerAll("confusion", `The ${classes.length} classes most often confused.`, showConfusion);
  element("confusion-tables").replaceChildren(...places.map((place) => confusionTable(place, classes)));
  element("cell-images").replaceChildren();
}

/** Of many classes, those that are most often taken for others, or others for them. */
function confusedClasses(places) {
  const all = range(DATA.classes.length);
  if (all.length <= MANY || whole.confusion) return all;
  const mistakes = all.map((k) => places.reduce((sum, place) => {
    const counts = DATA.contenders[place].confusion;
    return sum + all.reduce((part, other) => part + (other === k ? 0 : counts[k][other] + counts[other][k]), 0);
  }, 0));
  return all.sort((i, j) => mistakes[j] - mistakes[i]).slice(0, CONFUSED).sort((i, j) => i - j);
}

function confusionTable(place, classes) {
  const contender = DATA.contenders[place], small = classes.length > MANY;
  const head = make("tr", {}, make("td"), ...classes.map((k) => make("th", { scope: "col", title: DATA.classes[k] }, make("span", {}, DATA.classes[k]))));
  const rows = classes.map((truth) => {
    const counts = contender.confusion[truth], total = counts.reduce((a, b) => a + b, 0) || 1;
    return make("tr", {}, make("th", { scope: "row", title: DATA.classes[truth] }, DATA.classes[truth]),
      ...classes.map((said) => confusionCell(place, truth, said, counts[said], counts[said] / total, small)));
  });
  const table = make("table", { className: `confusion${small ? " small" : ""}` },
    make("caption", {}, nameOf(contender)), make("thead", {}, head), make("tbody", {}, ...rows));
  const first = table.querySelector("button");
  if (first) first.tabIndex = 0;
  table.addEventListener("keydown", (event) => moveInTable(event, table));
  return make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": `Confusion matrix of ${contender.label}` }, table);
}

function confusionCell(place, truth, said, count, share, small) {
  const cell = make("td");
  if (!count) return cell;
  const [background, ink] = shade(Math.sqrt(share));
  const button = make("button", {
    type: "button", tabIndex: -1, title: `${DATA.classes[truth]} taken for ${DATA.classes[said]}: ${percent(share)}%`,
    "aria-label": `${DATA.classes[truth]} taken for ${DATA.classes[said]}: ${percent(share)}%`,
  }, small ? "" : percent(share, share < 0.0995 ? 1 : 0));
  Object.assign(button.dataset, { place, truth, said });
  button.style.background = background;
  button.style.color = ink;
  button.addEventListener("click", () => showCell(place, truth, said, button));
  cell.append(button);
  return cell;
}

/** From the paper's colour to a strong blue, and black or white text on it, whichever is read better. */
function shade(strength) {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches && !document.documentElement.classList.contains("paper");
  const [from, to] = dark ? [[32, 37, 44], [120, 190, 240]] : [[255, 255, 255], [8, 64, 120]];
  const mixed = from.map((value, i) => Math.round(value + strength * (to[i] - value)));
  const linear = mixed.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return [`rgb(${mixed})`, luminance > 0.179 ? "#000" : "#fff"];
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showConfusion);

function moveInTable(event, table) {
  const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
  const from = event.target.closest("td");
  if (!step || !from) return;
  event.preventDefault();
  let [row, column] = [from.parentElement.rowIndex, from.cellIndex];
  for (;;) { // over empty cells
    row += step[0];
    column += step[1];
    const cell = row > 0 && column > 0 ? table.rows[row]?.cells[column] : undefined;
    if (!cell) return;
    const button = cell.querySelector("button");
    if (!button) continue;
    table.querySelectorAll('button[tabindex="0"]').forEach((other) => (other.tabIndex = -1));
    button.tabIndex = 0;
    button.focus();
    return;
  }
}

/** The images of the sheet that some seed of the contender puts into the cell, most seeds first. */
function cellImages(place, truth, said) {
  const votes = (image) => image.votes[place].filter((vote) => vote === said).length;
  return (DATA.sheet?.images || [])
    .map((image, position) => ({ image, position, seeds: votes(image) }))
    .filter(({ image, seeds }) => image.label === truth && seeds)
    .sort((one, other) => other.seeds - one.seeds);
}

function showCell(place, truth, said, button) {
  const contender = DATA.contenders[place], found = cellImages(place, truth, said);
  const count = contender.confusion[truth][said] / contender.seeds.length;
  const what = truth === said ? `${DATA.classes[truth]}, recognised` : `${DATA.classes[truth]}, taken for ${DATA.classes[said]}`;
  element("cell-images").replaceChildren(
    make("h3", {}, nameOf(contender), `: ${what}`),
    make("p", {}, `${count.toFixed(count < 10 ? 1 : 0)} test images a seed. ${found.length || "None"} that some seed takes so ${found.length > 1 ? "are" : "is"} in this page.`),
    gallery(found.map(({ image, position, seeds }) => imageCard(position, `test image ${image.index}; taken so in ${seeds} of ${contender.seeds.length} seeds`))));
  document.querySelectorAll(".confusion .chosen").forEach((other) => other.classList.remove("chosen"));
  button.classList.add("chosen");
}

// Images -------------------------------------------------------------------------------------------

const sheetPicture = element("sheet");

/** Draw one image of the sheet on a canvas of its own size. */
function drawImage(canvas, position) {
  const { columns, width, height } = DATA.sheet;
  const left = (position % columns) * width, top = Math.floor(position / columns) * height;
  canvas.getContext("2d").drawImage(sheetPicture, left, top, width, height, 0, 0, width, height);
}

function picture(position) {
  const { width, height, images } = DATA.sheet;
  const canvas = make("canvas", { width, height, role: "img", "aria-label": `test image ${images[position].index}, ${DATA.classes[images[position].label]}` });
  sheetPicture.decode().then(() => drawImage(canvas, position));
  return canvas;
}

/** An image with its true class and what the chosen contenders say: their three likeliest classes. */
function imageCard(position, remark) {
  const image = DATA.sheet.images[position];
  const places = [chosen.a, chosen.b].filter((place) => place !== null);
  const said = places.map((place) => {
    const top = image.top[place].filter(([, probability]) => probability >= 0.005).map(([label, probability]) => `${DATA.classes[label]} ${percent(probability, 0)}%`);
    const right = image.top[place][0][0] === image.label;
    return make("li", { className: right ? "right" : "wrong" }, nameOf(DATA.contenders[place]), ` ${top.join(", ")}`);
  });
  const card = make("figure", { className: "card" }, picture(position),
    make("figcaption", {}, make("b", {}, DATA.classes[image.label]), make("ul", {}, ...said), make("span", { className: "quiet" }, remark)));
  card.dataset.index = image.index;
  return card;
}

const gallery = (cards) => make("div", { className: "gallery" }, ...cards);

function imageList(title, text, list, remark) {
  const heading = make("h3", {}, ...title);
  if (!DATA.sheet) return make("div", {}, heading, make("p", {}, text));
  const shown = list.places.slice(0, 8), rest = list.places.slice(8), box = gallery(shown.map((p) => imageCard(p, remark(p))));
  const more = make("button", { type: "button", className: "noprint" }, `${rest.length} more`);
  more.addEventListener("click", () => {
    box.append(...rest.map((p) => imageCard(p, remark(p))));
    more.remove();
  });
  return make("div", {}, heading, make("p", {}, text), box, ...(rest.length ? [more] : []));
}

function showMistakes() {
  const pair = chosenPair(), a = DATA.contenders[chosen.a], lists = [];
  const number = (position) => `test image ${DATA.sheet.images[position].index}`;
  const disputed = (places) => (position) => {
    const shares = places.map((place) => percent(DATA.sheet.images[position].disagreement[place], 0));
    return `${number(position)}; pairs of seeds that disagree: ${shares.join("% and ")}%`;
  };
  const images = (list) => `${list.total.toLocaleString("en")} test images`;
  if (pair) {
    const b = DATA.contenders[chosen.b], share = pair.shares;
    lists.push(make("p", {}, `Of the test images both get ${percent(share.bothRight)}% right, only ${a.label} ${percent(share.onlyA)}%, ` +
      `only ${b.label} ${percent(share.onlyB)}%, and neither ${percent(share.bothWrong)}%${pair.seeds > 1 ? ` (means over ${pair.seeds} seeds)` : ""}.`));
    lists.push(imageList([nameOf(b), " alone is right"], `${images(pair.onlyB)} that ${b.label} gets right in most seeds and ${a.label} wrong in most; the clearest first.`, pair.onlyB, number));
    lists.push(imageList([nameOf(a), " alone is right"], `${images(pair.onlyA)}, the other way round.`, pair.onlyA, number));
    lists.push(imageList(["Both are wrong, and sure"], `${images(pair.bothWrong)} that both get wrong in every seed; the most confident first.`, pair.bothWrong, number));
    lists.push(imageList(["The seeds disagree"], `${images(pair.disputed)} on which some seeds of a contender disagree; the most disputed first.`, pair.disputed, disputed([chosen.a, chosen.b])));
  } else {
    lists.push(imageList(["The seeds disagree"], `${images(DATA.alone[chosen.a])} on which some seeds disagree; the most disputed first.`, DATA.alone[chosen.a], disputed([chosen.a])));
  }
  element("mistake-lists").replaceChildren(...lists);
}

// Begin --------------------------------------------------------------------------------------------

/** A box to tick for each contender, in the sections whose charts show all of them. */
document.querySelectorAll(".legend").forEach((legend) =>
  legend.append(...DATA.contenders.map((c) => {
    const box = make("input", { type: "checkbox", checked: true, value: c.label });
    box.addEventListener("change", () => {
      hidden[box.checked ? "delete" : "add"](c.label);
      document.querySelectorAll(".legend input").forEach((other) => (other.checked = !hidden.has(other.value)));
      WITH_LEGEND.forEach(draw);
    });
    return make("label", {}, box, nameOf(c));
  })));
if (DATA.contenders.length > 6) element("show-train").checked = false;
for (const id of ["single-seeds", "show-train"])
  element(id).addEventListener("change", () => ["loss-chart", "acc-chart"].forEach(draw));
element("cost-axis").addEventListener("change", () => draw("cost-chart"));
element("setting")?.addEventListener("change", () => draw("setting-chart"));
element("scaled").addEventListener("change", () => draw("reliability-chart"));
showPair();
drawAll();
