// One reader's way through a session: fetch what is shown now, take the answer, save it at once, go on.
// The address of the page ends in the reader's token, which never leaves in an address: it travels in a header.

import { Form, answerKeys, element, keyName } from "./form.js";
import { Viewer } from "./viewer.js";

const $ = (id) => document.getElementById(id);
const token = location.hash.slice(1);
const AGAIN_MS = 2000, PAUSE_EVERY = 50;
let session, place, viewer, form, actions;
let covered = true, busy = false, seconds = 0, seen = null;
const pictures = new Map();  // of the item that is shown and of the next one

// ---------------------------------------------------------------- the server

class Refused extends Error {
  constructor(status, problems) {
    super(problems.map((p) => p.message).join(" "));
    this.status = status;
  }
}

/** Ask the server; while it does not answer, say so and ask again: nothing that was answered is lost. */
async function ask(path, body) {
  const options = { headers: { Authorization: `Bearer ${token}` }, cache: "no-store" };
  if (body) Object.assign(options, { method: "POST", body: JSON.stringify(body) }, { headers: { ...options.headers, "Content-Type": "application/json" } });
  for (;;) {
    try {
      const reply = await fetch(path, options);
      if (reply.status === 507) throw new TypeError((await reply.json()).problems[0].message);
      if (!reply.ok) throw await refusal(reply);
      const value = reply.headers.get("content-type") === "application/octet-stream" ? await reply.arrayBuffer() : await reply.json();
      notice("");
      return value;
    } catch (error) {
      if (error instanceof Refused) throw error;
      const why = error.message.startsWith("The answer could not") ? error.message : "The server does not answer.";
      notice(`${body ? "Not saved yet" : "Waiting"}: ${why} Leave this page open; it tries again by itself.`);
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

async function refusal(reply) {
  const said = await reply.json().catch(() => ({}));
  return new Refused(reply.status, said.problems ?? [{ message: typeof said.detail === "string" ? said.detail : `The server refused (${reply.status}).` }]);
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

/** The pictures of an item, fetched once. */
function picturesOf(item) {
  if (!pictures.has(item)) {
    const sides = Array.from({ length: session.sides }, (_, side) => ask(`/api/items/${encodeURIComponent(item)}/${side}`).then(numbers));
    pictures.set(item, Promise.all(sides));
  }
  return pictures.get(item);
}

function numbers(buffer) {
  if (new Uint8Array(Uint16Array.of(1).buffer)[0]) return new Uint16Array(buffer);
  const view = new DataView(buffer);  // a machine that counts from the other end
  return Uint16Array.from({ length: buffer.byteLength / 2 }, (_, i) => view.getUint16(2 * i, true));
}

// ---------------------------------------------------------------- from item to item

async function show() {
  const item = place.now;
  if (item === null) return end();
  form.close();
  progress();
  const sides = await picturesOf(item);
  for (const known of pictures.keys()) if (known !== item && known !== place.then) pictures.delete(known);
  form.clear();
  viewer.mark(null);
  viewer.show(sides);
  await new Promise(requestAnimationFrame);
  seconds = 0;
  seen = performance.now();
  form.open(item);
  form.focusFirst();
  tick();
  if (place.then) picturesOf(place.then).catch(() => pictures.delete(place.then));
}

function progress() {
  const { answered, later, items } = place;
  $("progress").max = items;
  $("progress").value = answered;
  $("count").textContent = `${answered} of ${items} answered${later ? ` · ${later} for later` : ""}`;
}

/** Seconds for which the item has been on a visible page. */
const looked = () => seconds + (seen === null ? 0 : (performance.now() - seen) / 1000);
const left = () => Math.max(0, session.minimum - looked());

function tick() {
  const rest = Math.ceil(left() - 0.001);
  form.setSave(rest > 0 ? `Save in ${rest} s` : "Save", rest <= 0);
  if (rest > 0) setTimeout(tick, 100);
}

async function save() {
  if (busy || covered || form.locked) return;
  const empty = form.empty();
  if (empty.length) return form.pointOut(`Still to answer: ${empty.map((q) => (q.kind === "answer" ? "the question above" : q.column)).join(", ")}.`);
  if (left() > 0) return form.pointOut(`Please look for ${Math.ceil(left())} s more.`);
  await send("/api/answers", { item: place.now, ...form.values, seconds: looked().toFixed(2) }, "Saved");
}

async function later() {
  if (!busy && !covered && !form.locked) await send("/api/later", { item: place.now }, "Put off");
}

async function send(path, body, done) {
  busy = true;
  form.close();
  $("saved").textContent = "…";
  try {
    place = await ask(path, body);
    $("saved").textContent = `${done} ✓`;
    const pause = done === "Saved" && place.now !== null && place.answered % PAUSE_EVERY === 0;
    if (pause) cover(`${place.answered} of ${place.items} done.`, [text("A good moment to rest your eyes. Everything is saved; you can close this page and come back.")], "Go on");
    else await show();
  } catch (error) {
    $("saved").textContent = "";
    if (error.status === 409) {  // answered in another window
      place = (await ask("/api/session")).place;
      await show();
      notice("This item was answered in another window; here is the next one.");
    } else if (error.status === 422) {
      form.open(place.now);
      form.pointOut(error.message);
    } else fail(error);
  } finally {
    busy = false;
  }
}

// ---------------------------------------------------------------- covers: before, between and after

const text = (words) => element("p", {}, words);

function cover(title, content, button) {
  covered = true;
  $("cover").replaceChildren(element("div", {}, element("h2", {}, title), ...content,
    button ? element("button", { type: "button", id: "go", onclick: go }, `${button} `, element("kbd", {}, "Enter")) : null));
  $("cover").hidden = false;
  $("go")?.focus();
}

async function go() {
  $("cover").hidden = true;
  covered = false;
  try {
    await show();
  } catch (error) {
    fail(error);
  }
}

function begin() {
  const { minimum, exhibit, sides } = session, resumed = place.answered + place.later > 0;
  const what = session.questions.find((q) => q.kind === "answer").asks;
  const points = [
    `${what} If you do not know, guess. An answer is final: there is no way back.`,
    sides === 2 ? "One image of each pair is synthetic." : "Look at every image by itself; some are real and some are synthetic.",
    exhibit.words,
    exhibit.volume ? "Images are volumes: you see three planes, and step through them with ↑ and ↓." : null,
    minimum ? `An answer is taken after ${minimum} s at the earliest.` : null,
    "Every answer is saved at once. You can stop at any time and go on later, with the same link.",
    "Please do not talk with other readers about what you saw before all have finished.",
  ].filter(Boolean);
  const [choices, scales] = [answerKeys(session.questions), session.questions.filter((q) => q.meanings.length)];
  const keys = element("p", { class: "keys" }, ...choices.flatMap(([key, , words]) => [element("kbd", {}, keyName(key)), ` ${words}   `]),
    ...(scales.length ? [element("kbd", {}, "1"), "–", element("kbd", {}, String(Math.max(...scales.map((q) => q.choices.length)))), " scales   "] : []),
    element("kbd", {}, "Enter"), " save   ", element("kbd", {}, "L"), " later   ", element("kbd", {}, "?"), " all keys");
  cover(resumed ? `Welcome back: ${place.answered} of ${place.items} answered.` : `${place.items} ${sides === 2 ? "pairs" : "images"} to read`,
    [element("ul", {}, ...points.map((p) => element("li", {}, p))), keys], resumed ? "Go on" : "Begin");
}

function end() {
  progress();
  cover("That was the last one. Thank you.", [text(`All ${place.items} answers are saved. You can close this page.`)]);
}

function fail(error) {
  cover("This page cannot go on.", [text(error.message)]);
}

// ---------------------------------------------------------------- keys and tools

/** Everything that can be done: group, words, keys, what to do, and whether a button in the toolbar does it too. */
function allActions() {
  const { volume, channels } = session.exhibit, many = channels.length > 1, ticks = session.questions.some((q) => q.kind === "artefact");
  const step = 60;
  return [
    ...answerKeys(session.questions).map(([key, choice, words]) => ["Answer", words, [key], () => form.answer(choice)]),
    ["Answer", "Value of a scale, or artefact", ["1 – 9"], null],
    ["Answer", "Next or previous question", ["tab", "shift+tab"], null],
    ticks ? ["Answer", "Artefacts", ["a"], () => form.focusArtefacts(0)] : null,
    ticks && session.sides === 2 ? ["Answer", "Artefacts of B", ["shift+a"], () => form.focusArtefacts(1)] : null,
    ["Answer", "Comment; Esc leaves it", ["c"], () => form.text.focus()],
    ["Answer", "Save and go on", ["enter"], save],
    ["Answer", "Later", ["l"], later],
    volume ? ["Slices", "Next, previous", ["arrowup", "arrowdown"], (key) => viewer.slice(key === "arrowup" ? 1 : -1)] : null,
    volume ? ["Slices", "Ten further, ten back", ["pageup", "pagedown"], (key) => viewer.slice(key === "pageup" ? 10 : -10)] : null,
    ...(volume ? ["z", "y", "x"].map((name, axis) => ["Slices", `Plane across ${name} large`, [name], () => viewer.setPlane(axis), axis ? "" : "Plane"]) : []),
    ["View", "Brighter", ["b"], () => viewer.setWindow(viewer.level - viewer.window / 16, viewer.window)],
    ["View", "Darker", ["d"], () => viewer.setWindow(viewer.level + viewer.window / 16, viewer.window)],
    ["View", "More contrast", ["m"], () => viewer.setWindow(viewer.level, viewer.window / 1.15)],
    ["View", "Flatter", ["f"], () => viewer.setWindow(viewer.level, viewer.window * 1.15)],
    ["View", "Zoom in", ["+", "="], () => viewer.zoomBy(1.25), "Zoom"],
    ["View", "Zoom out", ["-"], () => viewer.zoomBy(0.8), ""],
    ["View", "Move", ["shift+arrowleft", "shift+arrowright", "shift+arrowup", "shift+arrowdown"], (key) =>
      viewer.pan(...{ arrowleft: [step, 0], arrowright: [-step, 0], arrowup: [0, step], arrowdown: [0, -step] }[key.slice(6)])],
    ["View", "Whole image", ["0"], () => viewer.home(), "Whole"],
    ["View", "As at first", ["v"], () => viewer.reset(), "Reset"],
    ["View", "Smooth or single pixels", ["p"], () => viewer.toggleSmooth(), "Pixels"],
    ["View", "Upside down", ["u"], () => viewer.turnOver(), "Turn"],
    ...(many ? channels.map((c, i) => ["View", `Channel ${c.name}`, [`shift+${i + 1}`], () => viewer.toggle(i)]) : []),
    ["View", "All keys", ["?", "h"], () => $("keys").showModal()],
  ].filter(Boolean);
}

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || $("keys").open) return;
  if (event.target.tagName === "TEXTAREA") {
    if (event.key === "Escape") form.focusFirst();
    return;
  }
  if (covered) {
    if (["?", "h", "H"].includes(event.key)) $("keys").showModal();
    return;
  }
  const digit = /^(?:Digit|Numpad)([0-9])$/.exec(event.code)?.[1];  // by place, for keyboards whose digits need the shift key
  const base = digit ?? event.key.toLowerCase(), key = event.shiftKey && (digit || base.length > 1 || base === "a") ? `shift+${base}` : base;
  if (event.key === "Enter" && event.target.closest("#tools, header, #later")) return;  // a button does what it says
  if (/^[1-9]$/.test(key)) form.digit(Number(key));
  else {
    const found = actions.find(([, , keys, act]) => act && keys.includes(key));
    if (!found) return;
    found[3](key);
  }
  event.preventDefault();
}

function buildTools() {
  const button = ([, words, [key], act, label]) => element("button", { type: "button", title: words, "aria-label": words, onclick: () => act(key) }, label && `${label} `, element("kbd", {}, keyName(key)));
  const slider = (id, words, keys, min, max, step, set) => element("label", { class: "slider" },
    element("span", {}, `${words} `, ...keys.map((k) => element("kbd", {}, keyName(k)))),
    element("input", { type: "range", id, min, max, step, tabindex: -1, oninput: (event) => set(Number(event.target.value)) }), element("output", { id: `${id}-value` }));
  const { volume, channels } = session.exhibit, tools = [];
  if (volume) tools.push(slider("slice", "Slice", ["arrowup", "arrowdown"], 0, 1, 1, (n) => viewer.moveTo(viewer.plane, n)));
  const reach = viewer.reach;
  tools.push(slider("level", "Brightness", ["b", "d"], -0.5 - reach, -0.5 + reach, reach / 300, (v) => viewer.setWindow(-v, viewer.window)));
  tools.push(slider("window", "Contrast", ["m", "f"], -6, 6, 0.02, (v) => viewer.setWindow(viewer.level, 2 ** -v)));
  if (channels.length > 1) tools.push(element("div", { class: "channels" }, ...channels.map((c, i) =>
    element("button", { type: "button", "aria-pressed": "true", id: `channel-${i}`, onclick: () => viewer.toggle(i) }, element("i", {}), c.name, " ", element("kbd", {}, `⇧ ${i + 1}`)))));
  tools.push(element("div", { class: "buttons" }, ...actions.filter((a) => a[4] !== undefined).map(button)));
  $("tools").append(...tools);
  channels.forEach((c, i) => $(`channel-${i}`)?.querySelector("i").style.setProperty("background", swatch(c)));
}

const swatch = ({ light, absorption }) => `rgb(${(absorption ? absorption.map((a) => Math.exp(-a)) : light).map((v) => Math.round(255 * v)).join(" ")})`;

/** Tools say what the viewer shows, whoever changed it. */
function toolsFollow() {
  if (!viewer || !$("level")) return;
  if ($("slice")) {
    $("slice").max = viewer.size[viewer.plane] - 1;
    $("slice").value = viewer.cursor[viewer.plane];
    $("slice-value").textContent = `${viewer.cursor[viewer.plane] + 1} / ${viewer.size[viewer.plane]}`;
  }
  $("level").value = -viewer.level;
  $("window").value = -Math.log2(viewer.window);
  const single = session.exhibit.kind === "grey", [black, white] = viewer.limits(0), digits = (v) => Number(v.toPrecision(4)).toString();
  $("level-value").textContent = single ? `black ${digits(black)}` : `${Math.round(100 * (1 - viewer.level) - 50)} %`;
  $("window-value").textContent = single ? `white ${digits(white)}` : `${Math.round(100 / viewer.window)} %`;
  viewer.visible.forEach((on, i) => $(`channel-${i}`)?.setAttribute("aria-pressed", String(on)));
}

function buildKeys() {
  const groups = [...new Set(actions.map(([group]) => group))].map((group) => element("section", {}, element("h3", {}, group),
    element("dl", {}, ...actions.filter((a) => a[0] === group).flatMap(([, words, keys]) => [
      element("dt", {}, ...keys.flatMap((k) => [element("kbd", {}, keyName(k)), " "])), element("dd", {}, words)]))));
  const hand = "Mouse: drag moves, wheel zooms (in volumes: steps through slices, with Ctrl zooms), right button or ⇧ changes brightness and contrast, a click into a small plane moves the others. Touch: one finger moves, two zoom.";
  $("keys").append(element("h2", {}, "Keys"), element("div", {}, ...groups), text(hand),
    element("form", { method: "dialog" }, element("button", {}, "Close ", element("kbd", {}, "Esc"))));
  $("keys-button").addEventListener("click", () => $("keys").showModal());
}

// ---------------------------------------------------------------- begin

async function main() {
  try {
    session = await ask("/api/session");
  } catch (error) {
    return fail(error);
  }
  place = session.place;
  document.title = $("title").textContent = session.title;
  $("title").append(element("span", { class: "quiet" }, session.reader));
  form = new Form($("form"), session.questions, { save, later, changed: () => viewer.mark({ a: 0, b: 1 }[form.values.answer] ?? null) });
  actions = allActions();
  viewer = new Viewer($("canvas"), session.exhibit, toolsFollow);
  buildTools();
  buildKeys();
  progress();
  document.addEventListener("keydown", onKey);
  for (const [kind, mouse] of [["click", (event) => event.detail > 0], ["change", () => true]]) {  // keys go to the questions after the hand is done
    document.addEventListener(kind, (event) => { if (mouse(event) && event.target.closest("#tools, header")) document.activeElement.blur(); });
  }
  document.addEventListener("visibilitychange", () => {
    if (seen !== null && document.hidden) seconds = looked();
    if (!covered) seen = document.hidden ? null : performance.now();
  });
  window.addEventListener("hashchange", () => location.reload());
  if (place.now === null) end();
  else begin();
}

main();
