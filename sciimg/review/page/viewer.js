// Draws one picture or two, alike: 16-bit numbers become colours here, through one window that holds for both.
// Axes are z, y, x; a plane is named after the axis that it is cut across.

const ROWS = [1, 0, 0], COLUMNS = [2, 2, 1];  // axes down and across of the planes z, y and x
const GAP = 8, BAR_PX = 90, ZOOM = [0.2, 32], WINDOW = [1 / 64, 64];
const LETTERS = ["A", "B"], NAMES = ["z", "y", "x"];
const LINES = ["#e0b354", "#62c8b8", "#c1a9f2"];  // of the cuts across z, y and x

const between = ([low, high], value) => Math.min(high, Math.max(low, value));

export class Viewer {
  /** about: how to read and show the numbers, as the server says it. changed: called when something is seen differently. */
  constructor(canvas, about, changed) {
    Object.assign(this, { canvas, about, changed, sides: [], chosen: null, smooth: true, over: false, asked: false });
    [this.channels, ...this.size] = about.shape;
    this.context = canvas.getContext("2d");
    this.cache = new Map();
    this.touches = new Map();
    this.reset();
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.listen();
  }

  /** Back to how the first picture was first seen. */
  reset() {
    this.level = 0.5;
    this.window = 1;
    this.visible = this.about.channels.map(() => true);
    this.plane = 0;
    this.smooth = true;
    this.over = false;
    this.home();
    this.repaint();
  }

  /** The whole picture. */
  home() {
    this.zoom = 1;
    this.middle();
  }

  middle() {
    this.cursor = this.size.map((n) => n >> 1);
    this.centre = this.size.map((n) => n / 2);
    this.draw();
  }

  /** Show pictures, arrays of numbers in the order channel, z, y, x, from their middle; window, channels, zoom and plane stay as they are. */
  show(sides) {
    this.sides = sides;
    this.cache.clear();
    this.middle();
  }

  /** How far the middle of the window can go from where it began, in windows: as far as there are numbers. */
  get reach() {
    if (this.about.kind === "brightfield") return 1.5;
    return Math.max(1.5, ...this.about.channels.map((c) => (c.high - c.black) / (c.white - c.black)));
  }

  // ---------------------------------------------------------------- what a reader can do

  zoomBy(factor, at = null) {
    const next = between(ZOOM, this.zoom * factor);
    const tile = at && this.tileAt(at);
    if (tile) for (const [axis, offset] of this.fromMiddle(at, tile)) this.centre[axis] += offset * (1 - this.zoom / next);
    this.zoom = next;
    this.keepInside();
  }

  pan(dx, dy, tile = this.tiles.find((t) => t.main)) {
    const middle = { x: tile.x + tile.w / 2, y: tile.y + tile.h / 2 };
    for (const [axis, offset] of this.fromMiddle({ x: middle.x + dx, y: middle.y + dy }, tile)) this.centre[axis] -= offset;
    this.keepInside();
  }

  slice(steps) {
    this.moveTo(this.plane, this.cursor[this.plane] + steps);
  }

  moveTo(axis, index) {
    this.cursor[axis] = between([0, this.size[axis] - 1], Math.round(index));
    this.draw();
  }

  setPlane(plane) {
    this.plane = plane;
    this.draw();
  }

  setWindow(level, window) {
    this.level = between([0.5 - this.reach, 0.5 + this.reach], level);
    this.window = between(WINDOW, window);
    this.repaint();
  }

  toggle(channel) {
    this.visible[channel] = !this.visible[channel];
    this.repaint();
  }

  toggleSmooth() {
    this.smooth = !this.smooth;
    this.draw();
  }

  /** Turn planes upside down: in some volumes the first row is the lowest. */
  turnOver() {
    this.over = !this.over;
    this.draw();
  }

  /** Mark the side that was chosen, or none. */
  mark(side) {
    this.chosen = side;
    this.draw();
  }

  /** Black and white of a channel as pixel values. */
  limits(channel) {
    const { black, white } = this.about.channels[channel];
    const value = (t) => (black + t * (white - black)) * this.about.scale + this.about.offset;
    return [value(this.level - this.window / 2), value(this.level + this.window / 2)];
  }

  keepInside() {
    this.centre = this.centre.map((c, axis) => between([0, this.size[axis]], c));
    this.draw();
  }

  // ---------------------------------------------------------------- from numbers to colours

  repaint() {
    this.tables = null;
    this.cache.clear();
    this.draw();
  }

  /** For each channel and colour, the light of every number: added up, or, for stains, let through one after the other. */
  makeTables() {
    const dark = this.level - this.window / 2;
    this.tables = this.about.channels.map(({ black, white, light, absorption }, c) => {
      if (!this.visible[c]) return null;
      const table = new Float32Array(3 * 65536);
      for (let v = 0, i = 0; v < 65536; v++) {
        const t = ((v - black) / (white - black) - dark) / this.window;
        const inside = t < 0 ? 0 : t > 1 ? 1 : t;
        for (let k = 0; k < 3; k++, i++) table[i] = absorption ? Math.exp(-t * absorption[k]) : inside * light[k];
      }
      return table;
    });
  }

  /** One plane of one side as a canvas of as many pixels as there are numbers. */
  paint(side, plane) {
    const index = this.cursor[plane], key = `${side} ${plane} ${index}`;
    if (this.cache.has(key)) return this.cache.get(key);
    if (!this.tables) this.makeTables();
    const [Z, Y, X] = this.size, step = [Y * X, X, 1];
    const rows = this.size[ROWS[plane]], columns = this.size[COLUMNS[plane]];
    const down = step[ROWS[plane]], across = step[COLUMNS[plane]], start = index * step[plane];
    const numbers = this.sides[side], used = this.tables.map((table, c) => [table, c * Z * Y * X]).filter(([table]) => table);
    const product = this.about.kind === "brightfield";
    const picture = new ImageData(columns, rows), out = picture.data;
    for (let r = 0, o = 0; r < rows; r++) {
      for (let k = 0, at = start + r * down; k < columns; k++, at += across, o += 4) {
        let red = product ? 1 : 0, green = red, blue = red;
        for (const [table, offset] of used) {
          const i = 3 * numbers[offset + at];
          if (product) { red *= table[i]; green *= table[i + 1]; blue *= table[i + 2]; }
          else { red += table[i]; green += table[i + 1]; blue += table[i + 2]; }
        }
        out[o] = 255 * red; out[o + 1] = 255 * green; out[o + 2] = 255 * blue; out[o + 3] = 255;  // rounded and clamped by the array
      }
    }
    const canvas = new OffscreenCanvas(columns, rows);
    canvas.getContext("2d").putImageData(picture, 0, 0);
    if (this.cache.size > 64) this.cache.clear();
    this.cache.set(key, canvas);
    return canvas;
  }

  // ---------------------------------------------------------------- where everything is

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(this.height * ratio);
    this.ratio = ratio;
    this.draw();
  }

  /** The planes on the page: all alike for the two sides of a pair. */
  layOut() {
    const n = Math.max(1, this.sides.length), w = (this.width - GAP * (n - 1)) / n, h = this.height;
    this.tiles = [];
    for (let side = 0; side < n; side++) {
      const x = side * (w + GAP);
      if (!this.about.volume) {
        this.tiles.push({ side, plane: 0, main: true, x, y: 0, w, h });
        continue;
      }
      const others = [0, 1, 2].filter((p) => p !== this.plane);
      const beside = w > 1.2 * h;
      const large = beside ? { w: Math.round(w * 0.64), h } : { w, h: Math.round(h * 0.62) };
      this.tiles.push({ side, plane: this.plane, main: true, x, y: 0, ...large });
      others.forEach((plane, i) => {
        const place = beside
          ? { x: x + large.w + GAP, y: i * ((h + GAP) / 2), w: w - large.w - GAP, h: (h - GAP) / 2 }
          : { x: x + i * ((w + GAP) / 2), y: large.h + GAP, w: (w - GAP) / 2, h: h - large.h - GAP };
        this.tiles.push({ side, plane, main: false, ...place });
      });
    }
  }

  /** Pixels of the page for one unit of length. */
  scale(tile) {
    const high = this.size[ROWS[tile.plane]] * this.about.spacing[ROWS[tile.plane]];
    const wide = this.size[COLUMNS[tile.plane]] * this.about.spacing[COLUMNS[tile.plane]];
    return Math.min((tile.w - 4) / wide, (tile.h - 4) / high) * this.zoom;
  }

  /** How far a point lies from the middle of a plane, in voxels along the axes across and down. */
  fromMiddle(at, tile) {
    const scale = this.scale(tile), [across, down] = [COLUMNS[tile.plane], ROWS[tile.plane]];
    const y = (at.y - tile.y - tile.h / 2) * (this.over ? -1 : 1);
    return [[across, (at.x - tile.x - tile.w / 2) / (scale * this.about.spacing[across])], [down, y / (scale * this.about.spacing[down])]];
  }

  tileAt({ x, y }) {
    return this.tiles.find((t) => x >= t.x && x < t.x + t.w && y >= t.y && y < t.y + t.h);
  }

  // ---------------------------------------------------------------- drawing

  draw() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.drawNow();
      this.changed();
    });
  }

  drawNow() {
    if (!this.width) return;
    const g = this.context;
    this.layOut();
    g.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    g.fillStyle = "#000";
    g.fillRect(0, 0, this.width, this.height);
    if (!this.sides.length) return;
    for (const tile of this.tiles) {
      g.save();
      g.beginPath();
      g.rect(tile.x, tile.y, tile.w, tile.h);
      g.clip();
      g.save();
      if (this.over) {
        g.translate(0, 2 * tile.y + tile.h);
        g.scale(1, -1);
      }
      this.drawPlane(g, tile);
      g.restore();
      this.drawMarks(g, tile);
      g.restore();
    }
  }

  drawPlane(g, tile) {
    const [row, column] = [ROWS[tile.plane], COLUMNS[tile.plane]], scale = this.scale(tile);
    const sx = scale * this.about.spacing[column], sy = scale * this.about.spacing[row];
    const left = tile.x + tile.w / 2 - this.centre[column] * sx, top = tile.y + tile.h / 2 - this.centre[row] * sy;
    g.imageSmoothingEnabled = this.smooth;
    g.imageSmoothingQuality = "high";
    g.drawImage(this.paint(tile.side, tile.plane), left, top, this.size[column] * sx, this.size[row] * sy);
    if (this.about.volume) this.drawCuts(g, tile, left, top, sx, sy);
  }

  drawMarks(g, tile) {
    g.strokeStyle = tile.main && this.chosen === tile.side ? "#8ab1f2" : "#2c3038";
    g.lineWidth = tile.main && this.chosen === tile.side ? 4 : 1;
    g.strokeRect(tile.x + 0.5, tile.y + 0.5, tile.w - 1, tile.h - 1);
    if (tile.main) {
      this.drawBar(g, tile, this.scale(tile));
      if (this.sides.length > 1) this.write(g, LETTERS[tile.side], tile.x + 12, tile.y + 28, "600 22px system-ui, sans-serif");
    }
    if (this.about.volume) {
      const place = `${NAMES[tile.plane]}  ${this.cursor[tile.plane] + 1}/${this.size[tile.plane]}`;
      this.write(g, place, tile.x + tile.w - 10, tile.y + 20, "13px system-ui, sans-serif", LINES[tile.plane], "right");
    }
  }

  /** Where the other two planes cut this one: at the edges of the large plane, right through the small ones. */
  drawCuts(g, tile, left, top, sx, sy) {
    for (const axis of [ROWS[tile.plane], COLUMNS[tile.plane]]) {
      const flat = axis === ROWS[tile.plane];
      const at = (flat ? top : left) + (this.cursor[axis] + 0.5) * (flat ? sy : sx);
      const [from, to] = flat ? [tile.x, tile.x + tile.w] : [tile.y, tile.y + tile.h];
      g.strokeStyle = LINES[axis];
      g.globalAlpha = tile.main ? 0.9 : 0.55;
      g.lineWidth = 1;
      g.beginPath();
      for (const [a, b] of tile.main ? [[from, from + 14], [to - 14, to]] : [[from, to]]) {
        if (flat) { g.moveTo(a, at); g.lineTo(b, at); } else { g.moveTo(at, a); g.lineTo(at, b); }
      }
      g.stroke();
      g.globalAlpha = 1;
    }
  }

  drawBar(g, tile, scale) {
    const rough = BAR_PX / scale, power = 10 ** Math.floor(Math.log10(rough));
    const length = [5, 2, 1].map((n) => n * power).find((n) => n <= rough) ?? power;
    const unit = { nanometer: "nm", micrometer: "µm", millimeter: "mm", pixel: "px" }[this.about.unit];
    const x = tile.x + 12, y = tile.y + tile.h - 12;
    g.fillStyle = "#000a";
    g.fillRect(x - 1, y - 4, length * scale + 2, 5);
    g.fillStyle = "#fff";
    g.fillRect(x, y - 3, length * scale, 3);
    this.write(g, `${Number(length.toPrecision(1))} ${unit}`, x, y - 9, "13px system-ui, sans-serif");
  }

  write(g, text, x, y, font, colour = "#fff", align = "left") {
    g.font = font;
    g.textAlign = align;
    const { width, fontBoundingBoxAscent: above, fontBoundingBoxDescent: below } = g.measureText(text);
    g.fillStyle = "#000a";
    g.fillRect(align === "left" ? x - 4 : x - width - 4, y - above - 1, width + 8, above + below + 2);
    g.fillStyle = colour;
    g.fillText(text, x, y);
  }

  // ---------------------------------------------------------------- mouse, pen and touch

  listen() {
    const c = this.canvas, at = (event) => ({ x: event.offsetX, y: event.offsetY });
    c.addEventListener("contextmenu", (event) => event.preventDefault());
    c.addEventListener("wheel", (event) => {
      event.preventDefault();
      const steps = Math.sign(event.deltaY);
      if (this.about.volume && !event.ctrlKey) this.wheelSlice(at(event), steps);
      else this.zoomBy(steps < 0 ? 1.2 : 1 / 1.2, at(event));
    }, { passive: false });
    c.addEventListener("pointerdown", (event) => {
      c.setPointerCapture(event.pointerId);
      this.touches.set(event.pointerId, { ...at(event), tile: this.tileAt(at(event)) });
      this.follow(event, at(event));
    });
    c.addEventListener("pointermove", (event) => this.touches.has(event.pointerId) && this.drag(event, at(event)));
    for (const name of ["pointerup", "pointercancel"]) c.addEventListener(name, (event) => this.touches.delete(event.pointerId));
    c.addEventListener("dblclick", () => this.home());
  }

  wheelSlice(at, steps) {
    const tile = this.tileAt(at);
    if (tile) this.moveTo(tile.plane, this.cursor[tile.plane] + steps);
  }

  drag(event, now) {
    const before = this.touches.get(event.pointerId), dx = now.x - before.x, dy = now.y - before.y;
    if (this.touches.size === 2) this.pinch(event.pointerId, before, now);
    else if (event.buttons & 2 || event.shiftKey) this.setWindow(this.level - dy / 300, this.window * 1.006 ** dx);
    else if (before.tile?.main) this.pan(dx, dy, before.tile);
    else this.follow(event, now);
    Object.assign(before, now);
  }

  /** A small plane says where the others are cut. */
  follow(event, now) {
    const tile = this.touches.get(event.pointerId)?.tile;
    if (!tile || tile.main || event.buttons & 2) return;
    for (const [axis, offset] of this.fromMiddle(now, tile)) this.moveTo(axis, this.centre[axis] + offset - 0.5);
  }

  pinch(id, before, now) {
    const other = [...this.touches].find(([key]) => key !== id)[1];
    const apart = (p) => Math.hypot(p.x - other.x, p.y - other.y);
    if (apart(before) > 0) this.zoomBy(apart(now) / apart(before), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
    if (before.tile?.main) this.pan((now.x - before.x) / 2, (now.y - before.y) / 2, before.tile);
  }
}
