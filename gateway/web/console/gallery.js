// Thousands of thumbnails, of which only those in sight are in the document. Items come in pages, as
// one scrolls; a picture opens large, and the arrow keys go from one to the next.
const PAGE = 100;
const GAP = 8;
const LEAST = 140; // px, of a cell
const MARGIN = 2; // rows above and below what is in sight

export default {
  template: `
    <div>
      <p class="pr-small pr-gallery-count" role="status">{{ total.toLocaleString("en") }} items<span v-if="total">, rows {{ (first + 1).toLocaleString("en") }} to {{ last.toLocaleString("en") }} of {{ rows.toLocaleString("en") }}</span></p>
      <div class="pr-gallery" ref="view" role="group" :aria-label="label" tabindex="-1" @scroll.passive="moved" @keydown="steer">
        <div class="pr-gallery-all" :style="{ height: rows * pitch + 'px' }">
          <button v-for="n in shown" :key="n" type="button" class="pr-cell" :data-n="n"
            :tabindex="n === at ? 0 : -1" :aria-label="name(n)" :style="place(n)" @click="open(n)" @focus="reached(n)">
            <img v-if="thumb(n)" :src="thumb(n)" alt="" decoding="async" draggable="false">
            <span v-else>{{ item(n) ? item(n).words : "" }}</span>
          </button>
        </div>
      </div>
      <dialog ref="look" class="pr-look" :aria-label="'Item ' + (at + 1)" @keydown="turn" @close="closed">
        <div class="pr-look-in" v-if="looking">
          <div class="pr-look-view">
            <video v-if="now && now.kind === 'video'" :key="now.url" :src="now.url" :aria-label="now.prompt" controls preload="metadata"></video>
            <audio v-else-if="now && now.kind === 'audio'" :key="now.url" :src="now.url" :aria-label="now.prompt" controls preload="metadata"></audio>
            <img v-else-if="now && now.kind === 'image'" :key="now.url" :src="now.url" :alt="now.prompt">
            <p v-else>{{ now ? now.words : "Loading…" }}</p>
          </div>
          <div class="pr-look-side" tabindex="0" role="region" aria-label="About it">
            <div class="pr-row">
              <button type="button" class="pr-mini" :aria-disabled="at === 0" @click="step(-1)" aria-label="Previous item">←</button>
              <span class="pr-small" aria-live="polite">{{ (at + 1).toLocaleString("en") }} of {{ total.toLocaleString("en") }}</span>
              <button type="button" class="pr-mini" :aria-disabled="at >= total - 1" @click="step(1)" aria-label="Next item">→</button>
              <button type="button" class="pr-mini" @click="$refs.look.close()">Close</button>
            </div>
            <template v-if="now">
              <p class="pr-strong">{{ now.prompt || "No prompt" }}</p>
              <dl>
                <dt>State</dt><dd>{{ now.words }}</dd>
                <template v-if="now.seed !== null"><dt>Seed</dt><dd>{{ now.seed }}</dd></template>
                <dt>Endpoint</dt><dd>{{ now.endpoint }}</dd>
                <template v-if="now.size"><dt>Size</dt><dd>{{ now.size }}</dd></template>
                <template v-if="now.cost"><dt>Cost</dt><dd>{{ now.cost }}</dd></template>
                <template v-if="now.custom_id"><dt>Id</dt><dd>{{ now.custom_id }}</dd></template>
              </dl>
              <div class="pr-row">
                <a v-if="now.url" :href="now.url" download>Download</a>
                <a :href="prefix + '/jobs/' + now.id">Its job</a>
              </div>
              <div class="pr-snippet" v-if="about[now.id]"><pre tabindex="0" role="region" aria-label="Input as JSON">{{ about[now.id] }}</pre></div>
            </template>
          </div>
        </div>
      </dialog>
    </div>`,
  props: { total: Number, label: String },
  emits: ["want", "look"],
  data: () => ({
    width: 0, height: 600, top: 0, at: 0, looking: false, prefix: "", pages: {}, about: {},
  }),
  computed: {
    columns() {
      return Math.max(2, Math.floor((this.width + GAP) / (LEAST + GAP)));
    },
    pitch() {
      return this.width ? (this.width + GAP) / this.columns : LEAST + GAP;
    },
    rows() {
      return Math.ceil(this.total / this.columns);
    },
    first() {
      return Math.min(Math.max(0, Math.floor(this.top / this.pitch)), Math.max(0, this.rows - 1));
    },
    last() {
      return Math.min(this.rows, Math.ceil((this.top + this.height) / this.pitch));
    },
    shown() {
      const from = Math.max(0, this.first - MARGIN) * this.columns;
      const to = Math.min(this.total, (this.last + MARGIN) * this.columns);
      return Array.from({ length: Math.max(0, to - from) }, (_, k) => from + k);
    },
    now() {
      return this.item(this.at);
    },
  },
  watch: {
    shown() {
      this.ask();
    },
    total() {
      this.at = Math.min(this.at, Math.max(0, this.total - 1));
    },
  },
  methods: {
    item(n) {
      return this.pages[Math.floor(n / PAGE)]?.[n % PAGE] || null;
    },
    thumb(n) {
      return this.item(n)?.thumb || null;
    },
    name(n) {
      const one = this.item(n);
      return one ? `${n + 1}: ${one.prompt || "no prompt"}, ${one.words}` : `${n + 1}: loading`;
    },
    place(n) {
      const side = this.pitch - GAP;
      const x = (n % this.columns) * this.pitch;
      const y = Math.floor(n / this.columns) * this.pitch;
      return { width: side + "px", height: side + "px", transform: `translate(${x}px, ${y}px)` };
    },
    moved() {
      this.top = this.$refs.view.scrollTop;
    },
    // What is scrolled past quickly is not asked for.
    ask() {
      clearTimeout(this.asking);
      this.asking = setTimeout(() => this.want([...this.shown, this.at]), 60);
    },
    want(numbers) {
      const wanted = new Set(numbers.filter((n) => n < this.total).map((n) => Math.floor(n / PAGE)));
      for (const page of wanted) {
        if (this.pages[page] || this.coming.has(page)) continue;
        this.coming.add(page);
        this.$emit("want", page * PAGE);
      }
    },
    fill(start, items) {
      this.coming.delete(start / PAGE);
      this.pages[start / PAGE] = items;
    },
    missed(start) {
      this.coming.delete(start / PAGE);
    },
    forget() {
      this.pages = {};
      this.coming.clear();
      this.ask();
    },
    // Pages in sight with something unfinished, or not full, are asked for again.
    renew() {
      for (const page of new Set(this.shown.map((n) => Math.floor(n / PAGE)))) {
        const items = this.pages[page];
        if (!items || this.coming.has(page)) continue;
        const whole = Math.min(PAGE, this.total - page * PAGE);
        if (items.length >= whole && items.every((one) => one.over)) continue;
        this.coming.add(page);
        this.$emit("want", page * PAGE);
      }
    },
    tell(id, words) {
      this.about[id] = words;
    },
    go(n) {
      this.at = Math.min(Math.max(0, n), this.total - 1);
      const y = Math.floor(this.at / this.columns) * this.pitch;
      const view = this.$refs.view;
      if (y < view.scrollTop) view.scrollTop = y;
      else if (y + this.pitch > view.scrollTop + view.clientHeight) view.scrollTop = y + this.pitch - view.clientHeight;
      this.moved();
    },
    steer(event) {
      const page = Math.max(1, Math.floor(this.height / this.pitch)) * this.columns;
      const by = {
        ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns,
        PageDown: page, PageUp: -page, Home: -this.total, End: this.total,
      }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      this.go(this.at + by);
      this.$nextTick(() => this.focus());
    },
    focus() {
      this.$refs.view.querySelector(`[data-n="${this.at}"]`)?.focus({ preventScroll: true });
    },
    // As the large view closes, the browser goes back to where it was opened from.
    reached(n) {
      if (!this.looking) this.at = n;
    },
    open(n) {
      this.at = n;
      this.looking = true;
      this.$refs.look.showModal();
      this.show();
    },
    show() {
      this.want([this.at]);
      if (this.now && !this.about[this.now.id]) this.$emit("look", this.now.id);
    },
    step(by) {
      this.go(this.at + by);
      this.$nextTick(() => this.show());
    },
    // Its buttons are never disabled outright: one that has the focus would take the keys with it.
    turn(event) {
      if (event.target.tagName === "VIDEO" || event.target.tagName === "AUDIO") return;
      if (event.key === "ArrowRight") this.step(1);
      else if (event.key === "ArrowLeft") this.step(-1);
      else return;
      event.preventDefault();
    },
    closed() {
      this.looking = false;
      this.$nextTick(() => this.focus());
    },
    measure() {
      this.width = this.$refs.view.clientWidth;
      this.height = this.$refs.view.clientHeight;
    },
  },
  created() {
    this.coming = new Set();
  },
  mounted() {
    setTimeout(() => (this.prefix = window.path_prefix || ""), 0);
    this.watching = new ResizeObserver(() => this.measure());
    this.watching.observe(this.$refs.view);
    this.measure();
    this.ask();
  },
  unmounted() {
    this.watching.disconnect();
    clearTimeout(this.asking);
  },
};
