// The questions of one item. Values are kept as text by column, as in a table of answers.

const ANSWER_KEYS = { real: "r", synthetic: "s", a: "arrowleft", b: "arrowright" };
const ANSWER_WORDS = { real: "Real", synthetic: "Synthetic", a: "A, left", b: "B, right" };
export const KEY_NAMES = { arrowleft: "←", arrowright: "→", arrowup: "↑", arrowdown: "↓", pageup: "PgUp", pagedown: "PgDn", enter: "Enter", tab: "Tab", escape: "Esc" };
export const keyName = (key) => KEY_NAMES[key] ?? (key.startsWith("shift+") ? `⇧ ${keyName(key.slice(6))}` : key.toUpperCase());

/** Make an element: element("p", {class: "x"}, "text", child). */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

export class Form {
  /** root: the form; questions: as the server asks them; actions: called by name (changed, save, later). */
  constructor(root, questions, actions) {
    Object.assign(this, { root, questions, actions });
    this.rows = [];
    this.clear();
    this.build();
  }

  clear() {
    this.values = Object.fromEntries(this.questions.map((q) => [q.column, ""]));
    this.update();
  }

  build() {
    const [scales, ticks, text] = [["answer", "confidence", "criterion"], ["artefact"], ["comment"]].map((kinds) =>
      this.questions.filter((q) => kinds.includes(q.kind)));
    this.root.append(...scales.map((q, i) => this.scale(q, scales[i - 1])), ...this.checklists(ticks), ...text.map((q) => this.comment(q)));
    this.missing = element("p", { id: "missing", role: "status" });
    this.laterButton = element("button", { type: "button", id: "later", onclick: () => this.actions.later() }, "Later ", element("kbd", {}, "L"));
    this.saveText = element("span", {}, "Save");
    this.saveButton = element("button", { type: "submit", id: "save" }, this.saveText, " ", element("kbd", {}, "Enter"));
    this.root.append(element("div", { id: "do" }, this.missing, this.laterButton, this.saveButton));
    this.root.addEventListener("submit", (event) => { event.preventDefault(); this.actions.save(); });
    this.update();
  }

  scale(q, before) {
    const answer = q.kind === "answer", name = `q-${q.column.replaceAll(" ", "-")}`;
    const buttons = q.choices.map((choice, i) => element("button", {
      type: "button", role: "radio", "data-choice": choice, title: q.meanings[i], "aria-label": q.meanings[i] ? `${choice}, ${q.meanings[i]}` : null,
      onclick: () => this.choose(q, choice),
    }, answer ? element("span", {}, ANSWER_WORDS[choice]) : choice, answer ? element("kbd", {}, keyName(ANSWER_KEYS[choice])) : null));
    const said = element("output", {});
    const same = before?.name && before.name === q.name;  // the second image of a pair
    const side = /^(a|b)$/.test(q.column.slice(-1)) && q.kind === "criterion" && q.column !== q.name ? q.column.slice(-1).toUpperCase() : "";
    const group = element("div", { class: `scale ${q.kind}${same ? " again" : ""}`, role: "radiogroup", "aria-labelledby": name },
      element("div", { class: "asks", id: name }, same ? element("span", { class: "quiet" }, "") : q.asks, q.required ? null : element("span", { class: "quiet" }, " optional")),
      side ? element("span", { class: "side" }, side) : null,
      element("div", { class: "choices" }, ...buttons), said);
    if (q.meanings.length && !(side && !same)) group.append(element("div", { class: "ends" }, element("span", {}, q.meanings[0]), element("span", {}, q.meanings.at(-1))));
    if (side) group.setAttribute("aria-label", `${q.asks} Image ${side}`);
    this.rows.push({ question: q, group, buttons, said });
    return group;
  }

  checklists(ticks) {
    const lists = [];
    for (const picture of new Set(ticks.map((q) => q.picture))) {
      const own = ticks.filter((q) => q.picture === picture), pair = ticks.some((q) => q.picture !== picture);
      const key = picture ? "⇧ A" : "A";
      const buttons = own.map((q, i) => element("button", { type: "button", role: "checkbox", onclick: () => this.tick(q) },
        element("kbd", {}, String(i + 1)), element("span", {}, q.name)));
      const group = element("div", { class: "ticks", role: "group", "aria-label": `Artefacts${pair ? ` in ${"AB"[picture]}` : ""}` },
        element("div", { class: "asks" }, `Artefacts${pair ? ` in ${"AB"[picture]}` : " that you see"} `, element("kbd", {}, key)),
        element("div", { class: "choices" }, ...buttons));
      this.rows.push({ checklist: own, group, buttons, picture });
      lists.push(group);
    }
    return lists;
  }

  comment(q) {
    this.text = element("textarea", { rows: 1, maxlength: 2000, id: "comment", "aria-label": q.asks,
      oninput: () => { this.values[q.column] = this.text.value; } });
    return element("div", { class: "comment" }, element("label", { class: "asks", for: "comment" }, "Comment ", element("kbd", {}, "C")), this.text);
  }

  // ---------------------------------------------------------------- what a reader can do

  choose(question, choice) {
    if (this.locked) return;
    this.values[question.column] = choice;
    this.update();
    this.goOn(question);
    this.actions.changed();
  }

  answer(choice) {
    this.choose(this.questions.find((q) => q.kind === "answer"), choice);
  }

  tick(question) {
    if (this.locked) return;
    this.values[question.column] = this.values[question.column] ? "" : "x";
    this.update();
    this.actions.changed();
  }

  /** A digit belongs to the question that has the focus, else to the first scale that waits for an answer. */
  digit(n) {
    const scale = (row) => row.question && row.question.kind !== "answer";
    const focused = this.rows.find((row) => row.group.contains(document.activeElement));
    const row = focused && !(focused.question?.kind === "answer") ? focused : this.rows.find((r) => scale(r) && !this.values[r.question.column]) ?? this.rows.find(scale);
    if (!row || n > row.buttons.length) return;
    row.buttons[n - 1].focus();
    if (row.checklist) this.tick(row.checklist[n - 1]);
    else this.choose(row.question, row.question.choices[n - 1]);
  }

  focusArtefacts(picture) {
    this.rows.find((row) => row.checklist && row.picture === picture)?.buttons[0].focus();
  }

  focusFirst() {
    this.rows[0].buttons[0].focus({ focusVisible: false });
  }

  /** After an answer the next scale that waits has the focus, and at the end the button that saves. */
  goOn(question) {
    const later = this.rows.slice(this.rows.findIndex((row) => row.question === question) + 1);
    const next = later.find((row) => row.question && !this.values[row.question.column]);
    if (next) next.buttons[0].focus();
    else this.saveButton.focus();
  }

  /** What is still empty and has to be answered. */
  empty() {
    return this.questions.filter((q) => q.required && !this.values[q.column]);
  }

  /** Put the focus on what is missing and say so. */
  pointOut(message) {
    this.missing.textContent = message;
    const first = this.empty()[0];
    this.rows.find((row) => row.question === first)?.buttons[0].focus();
  }

  // ---------------------------------------------------------------- what is shown

  update() {
    if (!this.missing) return;
    this.missing.textContent = "";
    for (const row of this.rows) {
      row.buttons.forEach((button, i) => {
        const on = row.checklist ? this.values[row.checklist[i].column] === "x" : this.values[row.question.column] === row.question.choices[i];
        button.setAttribute("aria-checked", String(on));
        if (row.question) button.tabIndex = on || (!this.values[row.question.column] && i === 0) ? 0 : -1;  // one stop of Tab a question
      });
      if (row.said) row.said.textContent = row.question.meanings[row.question.choices.indexOf(this.values[row.question.column])] ?? "";
    }
    if (this.text.value !== this.values.comment) this.text.value = this.values.comment;
  }

  /** Take answers about an item that is on the page now. */
  open(item) {
    this.lock(false);
    this.root.dataset.item = item;
  }

  /** Take none: an answer is on its way, or the next picture is. */
  close() {
    this.lock(true);
    delete this.root.dataset.item;
  }

  lock(locked) {
    this.locked = this.text.readOnly = locked;
    this.root.classList.toggle("locked", locked);
  }

  setSave(text, ready) {
    this.saveText.textContent = text;
    this.saveButton.classList.toggle("waiting", !ready);
  }
}

export const answerKeys = (questions) => questions.find((q) => q.kind === "answer").choices.map((choice) => [ANSWER_KEYS[choice], choice, ANSWER_WORDS[choice]]);
