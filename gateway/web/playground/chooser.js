// The chosen endpoint on a button, and behind it all of them: searched, by kind, by price, by speed.
const KINDS = [["", "All"], ["image", "Images"], ["video", "Video"], ["speech", "Speech"], ["text", "Text"]];
const SORTS = [["listed", "as listed"], ["price", "cheapest first"], ["seconds", "fastest first"], ["name", "by name"]];
const ICONS = { image: "image", video: "movie", speech: "graphic_eq", text: "notes" };

export default {
  template: `
    <div class="pr-chooser">
      <button type="button" class="pr-chosen" @click="open" :aria-label="'Endpoint: ' + title + '. Choose another'"
        aria-haspopup="dialog">
        <i class="q-icon material-icons" aria-hidden="true">{{ icon(shown && shown.kind) }}</i>
        <span class="pr-chosen-name"><b>{{ title }}</b>
          <span class="pr-small">{{ shown ? shown.price_words + ' · ' + shown.speed_words : 'not in the catalogue; no price is known' }}</span></span>
        <i class="q-icon material-icons" aria-hidden="true">unfold_more</i>
      </button>
      <dialog ref="dialog" class="pr-choosing" aria-label="Choose an endpoint" @click.self="close" @keydown="key" @close="query = ''">
        <div class="pr-choosing-head">
          <input ref="search" type="search" v-model="query" placeholder="Search endpoints" aria-label="Search endpoints"
            autocomplete="off" spellcheck="false" @input="at = 0">
          <button type="button" class="pr-mini" @click="close">Close</button>
        </div>
        <div class="pr-choosing-by">
          <div role="group" aria-label="Kind" class="pr-pills">
            <button v-for="k in kinds" :key="k[0]" type="button" :aria-pressed="String(kind === k[0])" @click="kind = k[0]; at = 0">{{ k[1] }}</button>
          </div>
          <label class="pr-small">Order <select v-model="sort" aria-label="Order">
            <option v-for="s in sorts" :key="s[0]" :value="s[0]">{{ s[1] }}</option></select></label>
        </div>
        <ul ref="list" class="pr-choices" aria-label="Endpoints">
          <li v-for="(e, i) in found" :key="e.id">
            <button type="button" :class="['pr-choice', i === at ? 'pr-choice-at' : '']" :aria-current="e.id === current ? 'true' : null"
              @click="choose(e.id)" @focus="at = i">
              <i class="q-icon material-icons" aria-hidden="true">{{ icon(e.kind) }}</i>
              <span class="pr-choice-name"><b>{{ e.name }}</b> <code>{{ e.id }}</code>
                <span class="pr-small">{{ e.task_words }}. {{ e.about }}</span></span>
              <span class="pr-choice-figures"><span>{{ e.price_words }}</span>
                <span class="pr-small">{{ e.speed_words }}</span></span>
            </button>
          </li>
          <li v-if="own"><button type="button" class="pr-choice" @click="choose(own)">
            <i class="q-icon material-icons" aria-hidden="true">add</i>
            <span class="pr-choice-name"><b>Use “{{ own }}”</b>
              <span class="pr-small">An endpoint that is not in the catalogue: its input is written as JSON, unchecked and without a price.</span></span>
          </button></li>
          <li v-if="!found.length && !own" class="pr-state">No endpoint fits.</li>
        </ul>
        <p class="pr-small pr-choosing-foot" role="status">{{ found.length }} of {{ endpoints.length }} endpoints. A price is of a run with defaults.</p>
      </dialog>
    </div>`,
  props: { endpoints: Array, current: String },
  emits: ["choose"],
  data: () => ({ query: "", kind: "", sort: "listed", at: 0, kinds: KINDS, sorts: SORTS }),
  computed: {
    shown() {
      return this.endpoints.find((e) => e.id === this.current);
    },
    title() {
      return this.shown ? this.shown.name : this.current || "Choose an endpoint";
    },
    found() {
      const words = this.query.toLowerCase().split(/\s+/).filter(Boolean);
      const fits = this.endpoints.filter(
        (e) => (!this.kind || e.kind === this.kind) && words.every((word) => e.searched.includes(word))
      );
      const by = { price: (e) => e.usd ?? Infinity, seconds: (e) => e.seconds };
      if (this.sort === "name") return fits.sort((a, b) => a.name.localeCompare(b.name));
      return this.sort === "listed" ? fits : fits.sort((a, b) => by[this.sort](a) - by[this.sort](b));
    },
    own() {
      const named = this.query.trim();
      return /^[\w.-]{1,128}$/.test(named) && !this.endpoints.some((e) => e.id === named) ? named : "";
    },
  },
  methods: {
    icon: (kind) => ICONS[kind] || "deployed_code",
    open() {
      this.at = Math.max(0, this.found.findIndex((e) => e.id === this.current));
      this.$refs.dialog.showModal();
      this.$refs.search.focus();
      this.show();
    },
    close() {
      this.$refs.dialog.close();
    },
    choose(id) {
      this.close();
      this.$emit("choose", id);
    },
    key(event) {
      if (event.key === "/" && event.target !== this.$refs.search) {
        event.preventDefault();
        this.$refs.search.focus();
      } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        if (event.target.tagName === "SELECT") return;
        event.preventDefault();
        const last = this.found.length - 1;
        this.at = Math.min(Math.max(this.at + (event.key === "ArrowDown" ? 1 : -1), 0), last);
        this.show();
      } else if (event.key === "Enter" && event.target === this.$refs.search) {
        event.preventDefault();
        const one = this.found[this.at];
        if (one) this.choose(one.id);
        else if (this.own) this.choose(this.own);
      }
    },
    show() {
      this.$nextTick(() => this.$refs.list.querySelector(".pr-choice-at")?.scrollIntoView({ block: "nearest" }));
    },
    slash(event) {
      const typing = event.target.closest?.("input, textarea, select, [contenteditable], dialog");
      if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        this.open();
      }
    },
  },
  mounted() {
    document.addEventListener("keydown", this.slash);
  },
  unmounted() {
    document.removeEventListener("keydown", this.slash);
  },
};
