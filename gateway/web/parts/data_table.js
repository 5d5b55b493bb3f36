// Rows that live: when rows change only what is other is drawn anew, so that focus and selection stay.
import { say, sayWhole } from "/web/static/moments.js";

export default {
  template: `
    <div class="pr-table-scroll" tabindex="0" role="region" :aria-label="caption">
      <table class="pr-table">
        <caption class="pr-hidden">{{ caption }}</caption>
        <thead><tr>
          <th v-if="selectable" scope="col" class="pr-pick">
            <input type="checkbox" aria-label="Select all that are shown" :checked="allPicked"
              :indeterminate.prop="somePicked && !allPicked" @change="pickAll($event.target.checked)">
          </th>
          <th v-for="c in columns" :key="c.key" scope="col" :class="c.align === 'right' ? 'pr-right' : ''">
            <span :class="c.quiet ? 'pr-hidden' : ''">{{ c.label }}</span>
          </th>
        </tr></thead>
        <tbody>
          <tr v-for="r in rows" :key="r.id" :class="r.tone ? 'pr-row-' + r.tone : ''">
            <td v-if="selectable" class="pr-pick">
              <input type="checkbox" :aria-label="'Select ' + r.id" :checked="picked.has(r.id)"
                @change="pick(r.id, $event.target.checked)">
            </td>
            <td v-for="c in columns" :key="c.key" :data-label="c.label"
                :class="[c.align === 'right' ? 'pr-right' : '', 'pr-cell-' + (c.kind || 'text'), none(r[c.key]) ? 'pr-cell-none' : '']">
              <template v-if="none(r[c.key])">–</template>
              <span v-else-if="c.kind === 'badge'" :class="'pr-badge pr-' + (r[c.key].tone || 'plain')">
                <span>{{ r[c.key].text }}</span></span>
              <a v-else-if="c.kind === 'link'" :href="prefixed(r[c.key].href)">{{ r[c.key].text }}</a>
              <span v-else-if="c.kind === 'lines'" class="pr-lines">
                <a v-if="r[c.key].href" :href="prefixed(r[c.key].href)" :title="r[c.key].text">{{ r[c.key].text }}</a>
                <span v-else :title="r[c.key].text">{{ r[c.key].text }}</span>
                <span v-if="r[c.key].sub" class="pr-small">{{ r[c.key].sub }}</span></span>
              <span v-else-if="c.kind === 'until'" class="pr-until">{{ r[c.key].text }}
                <strong v-if="r[c.key].until" role="timer">{{ left(r[c.key]) }}</strong></span>
              <time v-else-if="c.kind === 'time'" :datetime="r[c.key]" :title="whole(r[c.key])">{{ ago(r[c.key]) }}</time>
              <code v-else-if="c.kind === 'code'">{{ r[c.key] }}</code>
              <span v-else-if="c.kind === 'gauge'" class="pr-gauge">
                <span class="pr-gauge-track" role="meter" :aria-label="c.label" aria-valuemin="0" aria-valuemax="100"
                  :aria-valuenow="Math.round(r[c.key].share * 100)" :aria-valuetext="r[c.key].text">
                  <span :class="'pr-gauge-bar pr-fill-' + (r[c.key].tone || 'busy')"
                    :style="{ width: Math.min(100, r[c.key].share * 100) + '%' }"></span></span>
                <span class="pr-small">{{ r[c.key].text }}</span></span>
              <img v-else-if="c.kind === 'thumb'" :src="r[c.key].src" :alt="r[c.key].alt" loading="lazy" width="48" height="48">
              <span v-else-if="c.kind === 'acts'" class="pr-row-acts">
                <button v-for="a in r[c.key]" :key="a.act" type="button" class="pr-mini" :disabled="a.off"
                  :aria-label="a.label" @click="$emit('act', { act: a.act, id: r.id })">{{ a.text }}</button></span>
              <span v-else :class="c.kind === 'long' ? 'pr-long' : ''" :title="c.kind === 'long' ? r[c.key] : null">{{ r[c.key] }}</span>
            </td>
          </tr>
        </tbody>
      </table>
    </div>`,
  props: { columns: Array, rows: Array, caption: String, selectable: Boolean },
  emits: ["act", "picked"],
  data: () => ({ now: Date.now(), picked: new Set(), prefix: "" }),
  computed: {
    allPicked() {
      return this.rows.length > 0 && this.rows.every((r) => this.picked.has(r.id));
    },
    somePicked() {
      return this.picked.size > 0;
    },
  },
  methods: {
    ago(at) {
      return say(at, this.now);
    },
    whole: sayWhole,
    none: (value) => value === null || value === undefined || value === "",
    left({ until, word }) {
      const seconds = Math.ceil((new Date(until) - this.now) / 1000);
      if (seconds <= 0) return `${word} now`;
      const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
      const two = (n) => String(n).padStart(2, "0");
      return `${word} in ${h ? `${h}:${two(m)}` : m}:${two(s)}`;
    },
    prefixed(href) {
      return href.startsWith("/") ? this.prefix + href : href;
    },
    pick(id, on) {
      on ? this.picked.add(id) : this.picked.delete(id);
      this.tell();
    },
    pickAll(on) {
      this.picked = new Set(on ? this.rows.map((r) => r.id) : []);
      this.tell();
    },
    unpick() {
      this.picked = new Set();
      this.tell();
    },
    tell() {
      this.$emit("picked", [...this.picked]);
    },
  },
  mounted() {
    this.timer = setInterval(() => (this.now = Date.now()), 1000);
    setTimeout(() => (this.prefix = window.path_prefix || ""), 0);
  },
  unmounted() {
    clearInterval(this.timer);
  },
};
