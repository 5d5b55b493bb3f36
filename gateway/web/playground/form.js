// A form from the fields of a schema. What is typed lives here, so that nothing is lost or jumps while
// the line is down; each change is told. A draft is kept until the tab is closed.
const DRAFT = "pressroom.playground.draft";
const DRAFT_BYTES = 3_000_000;
const FILE_BYTES = 7_300_000; // as text in JSON it is a third larger, and a request may hold 10 MB

// Of about a million pixels, in steps of 64, which every endpoint with sides of its own takes.
const SHAPES = [
  ["Square", 1024, 1024],
  ["Portrait", 896, 1152],
  ["Tall", 768, 1344],
  ["Landscape", 1152, 896],
  ["Wide", 1344, 768],
];

export default {
  template: `
    <form class="pr-inputs" @submit.prevent @keydown.ctrl.enter.prevent="run" @keydown.meta.enter.prevent="run" @paste="pasted">
      <template v-for="group in groups" :key="group.name">
      <component :is="group.name ? 'details' : 'div'" :class="group.name ? 'pr-inputs-more' : 'pr-input-grid'" :open="group.name ? openMore : null">
        <summary v-if="group.name">{{ group.name }}</summary>
        <div v-for="f in group.fields" :key="f.name" :class="['pr-input', 'pr-input-' + f.kind, f.name === 'height' ? 'pr-input-last-side' : '']">
          <label :for="id(f)">{{ f.label }}<span v-if="f.required" class="pr-small"> (required)</span></label>
          <textarea v-if="f.kind === 'text' || f.kind === 'json'" :id="id(f)" :rows="f.kind === 'json' ? 12 : f.name === 'prompt' ? 5 : 2"
            :value="flat[f.name] ?? ''" @input="put(f, $event.target.value)" v-bind="aria(f)"></textarea>
          <select v-else-if="f.kind === 'choice' || f.kind === 'ratio' || (f.kind === 'size' && f.exact)" :id="id(f)" v-bind="aria(f)"
            :value="index(f)" @change="pick(f, $event.target.value)">
            <option v-if="f.default === null" value="-1">{{ f.required ? 'Choose' : 'As the endpoint does' }}</option>
            <option v-for="(o, i) in f.options" :key="i" :value="i">{{ say(o) }}</option>
          </select>
          <input v-else-if="f.kind === 'switch'" type="checkbox" :id="id(f)" :checked="flat[f.name] ?? f.default" v-bind="aria(f)"
            @change="put(f, $event.target.checked)">
          <div v-else-if="f.kind === 'seed'" class="pr-with-button">
            <input :id="id(f)" type="text" inputmode="numeric" placeholder="random" :value="flat[f.name] ?? ''" v-bind="aria(f)" @input="number(f, $event.target.value)">
            <button type="button" class="pr-mini" aria-label="Roll a seed" @click="roll(f)"><i class="q-icon material-icons" aria-hidden="true">casino</i></button>
            <button type="button" class="pr-mini" :disabled="flat[f.name] === undefined" @click="put(f, undefined)">Random</button>
          </div>
          <template v-else-if="f.kind === 'file' || f.kind === 'files'">
            <div class="pr-well" @dragover.prevent @drop.prevent="take(f, $event.dataTransfer.files)">
              <div v-for="(g, i) in list(f)" :key="i" class="pr-given">
                <img v-if="g.preview" :src="g.preview" alt="The picture that was put in">
                <span class="pr-long">{{ g.name || g }}</span>
                <button type="button" class="pr-mini" @click="drop(f, i)" :aria-label="'Remove ' + (g.name || g)">Remove</button>
              </div>
              <input :id="id(f)" type="file" :accept="f.accept" :multiple="f.kind === 'files'" v-bind="aria(f)" @change="take(f, $event.target.files); $event.target.value = ''">
              <span class="pr-small">or drag it here, or paste it</span>
              <div class="pr-with-button"><input type="url" :aria-label="f.label + ' by URL'" placeholder="https://" v-model="urls[f.name]" @keydown.enter.prevent="link(f)" @change="link(f)"></div>
            </div>
          </template>
          <template v-else-if="f.kind === 'rows'">
            <fieldset v-for="(row, i) in flat[f.name] || []" :key="i" class="pr-rowset">
              <legend class="pr-small">{{ i + 1 }}</legend>
              <template v-for="c in f.fields" :key="c.name">
                <select v-if="c.kind === 'choice'" :aria-label="c.label + ' ' + (i + 1)" :value="row[c.name]" @change="cell(f, i, c, $event.target.value)">
                  <option v-for="o in c.options" :key="o">{{ o }}</option></select>
                <textarea v-else-if="c.kind === 'text'" rows="3" :aria-label="c.label + ' ' + (i + 1)" :value="row[c.name] ?? ''" @input="cell(f, i, c, $event.target.value)"></textarea>
                <input v-else type="text" :aria-label="c.label + ' ' + (i + 1)" :placeholder="c.label" :value="row[c.name] ?? ''" @input="cell(f, i, c, $event.target.value)">
              </template>
              <button type="button" class="pr-mini" @click="drop(f, i)" :aria-label="'Remove ' + f.label + ' ' + (i + 1)">Remove</button>
            </fieldset>
            <button type="button" class="pr-mini" :id="id(f)" @click="add(f)">Add</button>
          </template>
          <template v-else>
            <input :id="id(f)" type="text" :inputmode="numeric(f) ? 'decimal' : null" :list="f.options.length ? id(f) + '-list' : null"
              :placeholder="f.default === null ? '' : String(f.default)" :value="flat[f.name] ?? ''" v-bind="aria(f)"
              @input="numeric(f) ? number(f, $event.target.value) : put(f, $event.target.value)">
            <datalist v-if="f.options.length" :id="id(f) + '-list'"><option v-for="o in f.options" :key="o" :value="o"></option></datalist>
          </template>
          <div v-if="frame(f)" class="pr-shapes">
          <svg class="pr-frame" viewBox="0 0 64 64" role="img" :aria-label="'Frame ' + frame(f).said">
            <rect :x="32 - frame(f).w / 2" :y="32 - frame(f).h / 2" :width="frame(f).w" :height="frame(f).h" rx="2"></rect></svg>
          <template v-if="f.kind === 'side'">
            <button v-for="s in shapes(f)" :key="s.name" type="button" class="pr-shape" :aria-pressed="String(s.here)"
              :aria-label="s.name + ', ' + s.w + ' by ' + s.h" @click="shape(s)">{{ s.name }}</button></template>
          </div>
          <p v-if="shownProblem(f)" :id="id(f) + '-said'" class="pr-problem" role="alert">{{ shownProblem(f) }}</p>
          <p v-else-if="f.wanted" :id="id(f) + '-said'" class="pr-small">{{ f.wanted }}</p>
        </div>
      </component>
      </template>
    </form>`,
  props: { endpoint: String, fields: Array, initial: Object, told: Object, url: String, draft: Boolean },
  emits: ["change", "run"],
  data: () => ({ flat: {}, touched: {}, urls: {}, said: {}, openMore: false, timer: null }),
  computed: {
    groups() {
      const [first, more] = [this.fields.filter((f) => !f.advanced), this.fields.filter((f) => f.advanced)];
      return more.length ? [{ name: "", fields: first }, { name: "More settings", fields: more }] : [{ name: "", fields: first }];
    },
  },
  methods: {
    id: (f) => "field-" + (f.name || "json").replace(/\W/g, "-"),
    say: (o) => (o === true ? "yes" : o === false ? "no" : String(o).replace("*", " × ")),
    numeric: (f) => f.kind === "number" || f.kind === "side",
    aria(f) {
      return { "aria-invalid": this.shownProblem(f) ? "true" : null, "aria-describedby": this.shownProblem(f) || f.wanted ? this.id(f) + "-said" : null };
    },
    shownProblem(f) {
      return this.said[f.name] || (this.touched[f.name] ? this.told[f.name] : "") || "";
    },
    index(f) {
      const value = this.flat[f.name] ?? f.default;
      return value === null ? -1 : f.options.indexOf(value);
    },
    pick(f, i) {
      this.put(f, Number(i) < 0 ? undefined : f.options[Number(i)]);
    },
    put(f, value) {
      if (value === "" || value === undefined) delete this.flat[f.name];
      else this.flat[f.name] = value;
      this.touched[f.name] = true;
      this.said[f.name] = "";
      this.tell();
    },
    number(f, typed) {
      const plain = typed.trim();
      this.put(f, /^-?(\d+\.?\d*|\.\d+)$/.test(plain) ? Number(plain) : plain);
    },
    roll(f) {
      this.put(f, Math.floor(Math.random() * 2 ** 31));
    },
    list(f) {
      const value = this.flat[f.name];
      return value === undefined ? [] : f.kind === "files" ? value : [value];
    },
    give(f, value) {
      this.put(f, f.kind === "files" ? [...this.list(f), value] : value);
    },
    drop(f, i) {
      const left = [...(f.kind === "file" ? [] : this.flat[f.name])];
      left.splice(i, 1);
      this.put(f, left.length ? left : undefined);
    },
    link(f) {
      const url = (this.urls[f.name] || "").trim();
      if (!url) return;
      this.urls[f.name] = "";
      this.give(f, url);
    },
    add(f) {
      const row = {};
      for (const c of f.fields) if (c.options.length) row[c.name] = c.options.includes("user") ? "user" : c.options[0];
      this.put(f, [...(this.flat[f.name] || []), row]);
    },
    cell(f, i, c, typed) {
      const rows = [...this.flat[f.name]];
      const plain = c.kind === "number" && typed.trim() && !isNaN(typed) ? Number(typed) : typed;
      rows[i] = { ...rows[i], [c.name]: plain };
      this.put(f, rows);
    },
    frame(f) {
      const at = (name) => this.flat[name] ?? this.fields.find((o) => o.name === name)?.default;
      let sides = null;
      if (f.name === "height" && f.kind === "side") sides = [at("width"), at("height")];
      else if (f.kind === "ratio") sides = String(at(f.name) || "").split(":");
      else if (f.kind === "size") sides = String(at(f.name) || "").split("*");
      const [w, h] = (sides || []).map(Number);
      if (!(w > 0 && h > 0)) return null;
      const longest = Math.max(w, h);
      return { w: (56 * w) / longest, h: (56 * h) / longest, said: `${w} by ${h}` };
    },
    shapes(f) {
      const [width, height] = ["width", "height"].map((name) => this.fields.find((o) => o.name === name));
      if (!width || !height) return [];
      const fits = (field, side) => (field.least ?? 0) <= side && side <= (field.most ?? Infinity);
      const at = (field) => this.flat[field.name] ?? field.default;
      return SHAPES.filter(([, w, h]) => fits(width, w) && fits(height, h)).map(([name, w, h]) => ({
        name, w, h, here: at(width) === w && at(height) === h,
      }));
    },
    shape({ w, h }) {
      this.set("width", w);
      this.set("height", h);
    },
    pasted(event) {
      const files = event.clipboardData?.files;
      const f = files?.length && this.fields.find((o) => (o.kind === "file" || o.kind === "files") && this.fits(o, files[0]));
      if (!f) return;
      event.preventDefault();
      this.take(f, files);
    },
    fits: (f, file) => file.type.startsWith(f.accept.replace("*", "")),
    async take(f, files) {
      for (const file of files) {
        if (!this.fits(f, file)) this.complain(f, `${file.name}: ${file.type || "a file of an unknown kind"} came, ${f.accept.replace("/*", "")} is taken`);
        else if (file.size > FILE_BYTES) this.complain(f, `${file.name}: ${(file.size / 1e6).toFixed(1)} MB came, up to 7.3 MB is taken; give its URL instead`);
        else await this.upload(f, file);
      }
    },
    complain(f, words) {
      this.said[f.name] = words;
    },
    async upload(f, file) {
      const body = new FormData();
      body.append("file", file);
      try {
        const answer = await fetch((window.path_prefix || "") + this.url, { method: "POST", body });
        if (!answer.ok) throw new Error();
        const { ref } = await answer.json();
        const preview = file.type.startsWith("image/") ? URL.createObjectURL(file) : "";
        this.give(f, { ref, name: file.name, preview });
      } catch {
        this.complain(f, `${file.name} could not be put in; try again`);
      }
    },
    tell() {
      this.$emit("change", this.bare(false));
      clearTimeout(this.timer);
      this.timer = setTimeout(this.keep, 300);
    },
    bare(forDraft) {
      const strip = (v) => (v && v.ref ? (forDraft ? undefined : { ref: v.ref }) : v);
      const told = {};
      for (const [name, value] of Object.entries(this.flat)) {
        const one = Array.isArray(value) ? value.map(strip).filter((v) => v !== undefined) : strip(value);
        if (one !== undefined && !(Array.isArray(one) && !one.length)) told[name] = one;
      }
      return told;
    },
    keep() {
      const kept = JSON.stringify({ endpoint: this.endpoint, flat: this.bare(true) });
      try {
        if (kept.length < DRAFT_BYTES) sessionStorage.setItem(DRAFT, kept);
      } catch {} // the browser keeps nothing; the form works without
    },
    set(name, value) {
      const f = this.fields.find((o) => o.name === name);
      if (f) this.put(f, value ?? undefined);
    },
    run() {
      for (const f of this.fields) this.touched[f.name] = true;
      this.$emit("run");
    },
  },
  created() {
    this.flat = { ...this.initial };
    if (this.draft) {
      try {
        const kept = JSON.parse(sessionStorage.getItem(DRAFT) || "null");
        if (kept?.endpoint === this.endpoint) this.flat = { ...kept.flat };
      } catch {}
    }
    this.openMore = this.fields.some((f) => f.advanced && f.name in this.flat);
    for (const f of this.fields) if (f.kind === "rows" && f.required && !this.flat[f.name]) this.flat[f.name] = [{ role: "user" }];
  },
  mounted() {
    setTimeout(this.tell, 0);
  },
  beforeUnmount() {
    clearTimeout(this.timer);
    this.keep();
  },
};
