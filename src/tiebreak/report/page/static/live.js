"use strict";
// The panel "Try it": an image, sliders that spoil it, and the answers of the models.

const LIVE = DATA.live.map((model, place) => ({ ...model, place })).filter((model) => !model.leftOut);
const [CHANNELS, HEIGHT, WIDTH] = DATA.shape, AREA = HEIGHT * WIDTH;
const MAX_FILE = 20e6, MAX_PIXELS = 50e6; // bytes; pixels once unpacked
const SLIDERS = ["permute", "shift", "rotate", "blur", "noise"];
const panel = { base: new Float32Array(CHANNELS * AREA), label: null, page: 0, round: 0 };
const loaded = new Map(); // "place-seed" -> layers with weights

/** Random numbers in 0..1 that are the same at every visit (mulberry32). */
function randomNumbers(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const ORDER = range(AREA), draws = randomNumbers(1);
for (let i = AREA - 1; i > 0; i--) {
  const j = Math.floor(draws() * (i + 1));
  [ORDER[i], ORDER[j]] = [ORDER[j], ORDER[i]];
}
const NOISE = Float32Array.from({ length: CHANNELS * AREA }, () =>
  Math.sqrt(-2 * Math.log(1 - draws())) * Math.cos(2 * Math.PI * draws()));

// What the sliders do. Pixels are [channel, row, column] in 0..1; what comes in from outside is black.

function eachChannel(pixels, change) {
  const changed = new Float32Array(pixels.length);
  for (let c = 0; c < CHANNELS; c++) change(pixels.subarray(c * AREA, (c + 1) * AREA), changed.subarray(c * AREA, (c + 1) * AREA));
  return changed;
}

/** Turn about the middle and shift to the right, interpolating between pixels. */
function moveImage(pixels, degrees, right) {
  const cos = Math.cos((degrees * Math.PI) / 180), sin = Math.sin((degrees * Math.PI) / 180);
  const middleX = (WIDTH - 1) / 2, middleY = (HEIGHT - 1) / 2;
  return eachChannel(pixels, (from, to) => {
    const at = (x, y) => (x >= 0 && y >= 0 && x < WIDTH && y < HEIGHT ? from[y * WIDTH + x] : 0);
    for (let y = 0; y < HEIGHT; y++)
      for (let x = 0; x < WIDTH; x++) {
        const dx = x - right - middleX, dy = y - middleY;
        const u = cos * dx + sin * dy + middleX, v = -sin * dx + cos * dy + middleY;
        const left = Math.floor(u), top = Math.floor(v), p = u - left, q = v - top;
        to[y * WIDTH + x] = (1 - q) * ((1 - p) * at(left, top) + p * at(left + 1, top)) + q * ((1 - p) * at(left, top + 1) + p * at(left + 1, top + 1));
      }
  });
}

/** A Gaussian blur, first along rows, then along columns; edges repeat. */
function blurImage(pixels, sigma) {
  const reach = Math.ceil(3 * sigma), weights = range(2 * reach + 1).map((i) => Math.exp(-((i - reach) ** 2) / (2 * sigma * sigma)));
  const sum = weights.reduce((a, b) => a + b, 0), clamp = (i, most) => Math.min(Math.max(i, 0), most);
  const along = (source, dy, dx) => eachChannel(source, (from, to) => {
    for (let y = 0; y < HEIGHT; y++)
      for (let x = 0; x < WIDTH; x++) {
        let value = 0;
        weights.forEach((w, i) => (value += w * from[clamp(y + dy * (i - reach), HEIGHT - 1) * WIDTH + clamp(x + dx * (i - reach), WIDTH - 1)]));
        to[y * WIDTH + x] = value / sum;
      }
  });
  return along(along(pixels, 0, 1), 1, 0);
}

/** A share of the positions, ever the same ones first, swap places in a ring; all channels together. */
function permuteImage(pixels, share) {
  const moved = ORDER.slice(0, Math.round(share * AREA));
  return eachChannel(pixels, (from, to) => {
    to.set(from);
    moved.forEach((position, i) => (to[moved[(i + 1) % moved.length]] = from[position]));
  });
}

function sliderValues() {
  return Object.fromEntries(SLIDERS.map((name) => [name, Number(element(`try-${name}`).value)]));
}

function spoil(pixels, { permute, shift, rotate, blur, noise }) {
  let image = pixels;
  if (rotate || shift) image = moveImage(image, rotate, shift);
  if (blur) image = blurImage(image, blur);
  if (noise) image = image.map((value, i) => Math.min(1, Math.max(0, value + noise * NOISE[i])));
  return permute ? permuteImage(image, permute / 100) : image;
}

// Between canvas and numbers -----------------------------------------------------------------------

/** The pixels of a canvas as the models take them; grey is the luma of RGB (ITU-R BT.601). */
function readCanvas(canvas, left = 0, top = 0) {
  const { data } = canvas.getContext("2d", { willReadFrequently: true }).getImageData(left, top, WIDTH, HEIGHT);
  const pixels = new Float32Array(CHANNELS * AREA);
  for (let i = 0; i < AREA; i++) {
    const [r, g, b] = [data[4 * i], data[4 * i + 1], data[4 * i + 2]];
    if (CHANNELS === 1) pixels[i] = r === g && g === b ? r / 255 : (0.299 * r + 0.587 * g + 0.114 * b) / 255;
    else [r, g, b].forEach((value, c) => (pixels[c * AREA + i] = value / 255));
  }
  return pixels;
}

function showPixels(canvas, pixels) {
  const shown = new ImageData(WIDTH, HEIGHT);
  for (let i = 0; i < AREA; i++) {
    for (let c = 0; c < 3; c++) shown.data[4 * i + c] = Math.round(255 * pixels[(CHANNELS === 1 ? 0 : c) * AREA + i]);
    shown.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(shown, 0, 0);
}

let sheetCanvas;
async function sheetPixels(position) {
  if (!sheetCanvas) {
    await sheetPicture.decode();
    sheetCanvas = make("canvas", { width: sheetPicture.naturalWidth, height: sheetPicture.naturalHeight });
    sheetCanvas.getContext("2d", { willReadFrequently: true }).drawImage(sheetPicture, 0, 0);
  }
  const { columns } = DATA.sheet;
  return readCanvas(sheetCanvas, (position % columns) * WIDTH, Math.floor(position / columns) * HEIGHT);
}

// The models ---------------------------------------------------------------------------------------

/** The seed whose weights answer: the one chosen, or where a model lacks it, its first. */
const seedOf = (model, chosen = element("try-seed").value) => (model.seeds.includes(Number(chosen)) ? chosen : model.seeds[0]);

async function layersOf(model, seed) {
  const key = `${model.place}-${seed}`;
  if (!loaded.has(key)) {
    const numbers = unpackHalves(await inflate(element(`weights-${key}`).textContent));
    loaded.set(key, withWeights(model.layers, numbers));
  }
  return loaded.get(key);
}

/** Class probabilities of one live model for pixels in 0..1. */
async function probabilities(model, pixels, seed) {
  return forward(await layersOf(model, seedOf(model, seed)), pixels, DATA.shape, DATA.mean, DATA.std);
}

const likeliest = (probs) => probs.indexOf(Math.max(...probs));

async function answer() {
  const round = ++panel.round, seen = spoil(panel.base, sliderValues());
  for (const name of SLIDERS) element(`try-${name}-value`).textContent = sliderText(name);
  showPixels(element("try-seen"), seen);
  const answers = await Promise.all(LIVE.map((model) => probabilities(model, seen)));
  if (round !== panel.round) return; // a later move of a slider has overtaken this one
  const said = LIVE.map((model, i) => `${model.label}: ${DATA.classes[likeliest(answers[i])]} (${percent(Math.max(...answers[i]), 0)}%)`);
  element("try-answer").textContent = `${said.join("; ")}.` + (panel.label === null ? "" : ` It is ${DATA.classes[panel.label]}.`);
  showBars(answers);
  scoreSample(round);
}

function sliderText(name) {
  const value = element(`try-${name}`).value;
  return { permute: `${value}%`, shift: `${value} px`, rotate: `${value}°`, blur: `${value} px`, noise: value }[name];
}

function otherSeed(model) {
  const seed = seedOf(model);
  return String(seed) === element("try-seed").value ? "" : ` (seed ${seed})`;
}

function showBars(answers) {
  const most = range(DATA.classes.length).map((k) => Math.max(...answers.map((probs) => probs[k])));
  const shown = range(DATA.classes.length).sort((i, j) => most[j] - most[i]).slice(0, 10).sort((i, j) => i - j);
  const head = make("tr", {}, make("td"), ...LIVE.map((model) => make("th", { scope: "col" }, nameOf(model), otherSeed(model))));
  const rows = shown.map((k) => make("tr", { className: k === panel.label ? "truth" : "" }, make("th", { scope: "row" }, DATA.classes[k]),
    ...answers.map((probs, i) => {
      const bar = make("span", { className: "bar" });
      bar.style.width = `${100 * probs[k]}%`;
      bar.style.background = LIVE[i].colour;
      return make("td", {}, make("span", { className: "track" }, bar), make("span", { className: "number" }, `${percent(probs[k], 0)}%`));
    })));
  element("try-bars").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
}

/** How many images of the random sample each model gets right under the same sliders, a few at a time. */
async function scoreSample(round) {
  const sample = range(DATA.sheet.images.length).filter((i) => DATA.sheet.images[i].sample), right = LIVE.map(() => 0), sliders = sliderValues();
  element("try-sample").textContent = "";
  let since = performance.now() - 1000;
  for (const position of sample) {
    if (performance.now() - since > 20) {
      await new Promise((resolve) => setTimeout(resolve, 0)); // let the page breathe
      since = performance.now();
    }
    if (round !== panel.round) return;
    const seen = spoil(await sheetPixels(position), sliders);
    for (const [i, model] of LIVE.entries()) right[i] += likeliest(await probabilities(model, seen)) === DATA.sheet.images[position].label;
  }
  if (round !== panel.round) return;
  const said = LIVE.map((model, i) => `${model.label} ${percent(right[i] / sample.length, 0)}%`);
  element("try-sample").textContent = `Under these sliders, of ${sample.length} test images drawn at random, right: ${said.join(", ")}.`;
}

// Where images come from ---------------------------------------------------------------------------

function showImage(pixels, label) {
  Object.assign(panel, { base: pixels, label });
  showPixels(element("try-base"), pixels);
  return answer();
}

async function pick(position) {
  element("try-message").textContent = "";
  await showImage(await sheetPixels(position), DATA.sheet.images[position].label);
}

function showChoice() {
  const wanted = Number(element("try-class").value), all = range(DATA.sheet.images.length);
  const fitting = all.filter((i) => wanted < 0 ? DATA.sheet.images[i].sample : DATA.sheet.images[i].label === wanted);
  const count = 18, pages = Math.max(1, Math.ceil(fitting.length / count)), from = (panel.page % pages) * count;
  element("try-images").replaceChildren(...fitting.slice(from, from + count).map((position) => {
    const image = DATA.sheet.images[position], button = make("button", { type: "button", "aria-label": `${DATA.classes[image.label]}, test image ${image.index}` }, picture(position));
    button.firstChild.setAttribute("aria-hidden", "true");
    button.dataset.position = position;
    button.addEventListener("click", () => pick(position));
    return button;
  }));
  return fitting[from];
}

/** A picture of any size: its largest part of the right proportions, scaled down. */
async function takeFile(file) {
  const complain = (text) => (element("try-message").textContent = text);
  complain("");
  if (!file) return;
  if (file.size > MAX_FILE) return complain(`${file.name} has ${(file.size / 1e6).toFixed(0)} MB; choose an image under 20 MB.`);
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return complain(`${file.name} is not an image that this browser can read; try a PNG or JPEG file.`);
  }
  if (bitmap.width * bitmap.height > MAX_PIXELS) return complain(`${file.name} has ${bitmap.width} × ${bitmap.height} pixels; choose one under 50 million.`);
  const scale = Math.min(bitmap.width / WIDTH, bitmap.height / HEIGHT), w = WIDTH * scale, h = HEIGHT * scale;
  const canvas = make("canvas", { width: WIDTH, height: HEIGHT }), context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, (bitmap.width - w) / 2, (bitmap.height - h) / 2, w, h, 0, 0, WIDTH, HEIGHT);
  await showImage(readCanvas(canvas), null);
}

function drawWithPointer(canvas) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  let last = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * WIDTH, ((event.clientY - box.top) / box.height) * HEIGHT];
  };
  const paint = (event) => {
    const here = place(event);
    Object.assign(context, { strokeStyle: element("try-colour").value, lineWidth: Number(element("try-brush").value), lineCap: "round" });
    context.beginPath();
    context.moveTo(...(last || here));
    context.lineTo(here[0] + 0.01, here[1]);
    context.stroke();
    last = here;
    panel.base = readCanvas(canvas);
    answer();
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    panel.label = null;
    last = null;
    paint(event);
  });
  canvas.addEventListener("pointermove", (event) => event.buttons && last && paint(event));
  canvas.addEventListener("pointerup", () => (last = null));
}

if (element("try-panel")) {
  for (const name of SLIDERS) element(`try-${name}`).addEventListener("input", answer);
  element("try-seed").addEventListener("change", answer);
  element("try-reset").addEventListener("click", () => {
    for (const name of SLIDERS) element(`try-${name}`).value = 0;
    answer();
  });
  element("try-class").addEventListener("change", () => { panel.page = 0; showChoice(); });
  element("try-more").addEventListener("click", () => { panel.page += 1; showChoice(); });
  element("try-clear").addEventListener("click", () => showImage(new Float32Array(CHANNELS * AREA), null));
  element("try-file").addEventListener("change", (event) => takeFile(event.target.files[0]));
  element("try-panel").addEventListener("dragover", (event) => event.preventDefault());
  element("try-panel").addEventListener("drop", (event) => { event.preventDefault(); takeFile(event.dataTransfer.files[0]); });
  drawWithPointer(element("try-base"));
  pick(showChoice()).then(() => (document.documentElement.dataset.live = "ready"));
}
