// Columns with a scale; who points at one is told its figures, and a table below has them all.
const WIDEST = 60; // bars that have room for a label each few

export default {
  template: `
    <div class="pr-days">
      <div class="pr-days-scroll" tabindex="0" role="region" :aria-label="caption">
        <div class="pr-days-plot" :style="{ minWidth: bars.length * 9 + 56 + 'px' }" aria-hidden="true">
          <div v-for="l in lines" :key="l.at" class="pr-days-line" :style="{ '--at': l.at }">
            <span>{{ l.text }}</span></div>
          <div class="pr-days-bars">
            <div v-for="(b, i) in bars" :key="b.key" class="pr-days-day" :class="{ 'pr-days-late': i > bars.length / 2 }">
              <div class="pr-days-unsure" :style="{ height: b.unsure * 100 + '%' }"></div>
              <div class="pr-days-sure" :style="{ height: b.sure * 100 + '%' }"></div>
              <div class="pr-days-tip"><strong>{{ b.whole }}</strong>
                <span>{{ b.sureText }} spent, {{ b.jobs }} {{ b.jobs === 1 ? "job" : "jobs" }}</span>
                <span v-if="b.unsureText">{{ b.unsureText }} may be billed</span></div>
            </div>
          </div>
          <div class="pr-days-names">
            <span v-for="(b, i) in bars" :key="b.key"><span v-if="i % every === 0" :class="{ 'pr-days-odd': (i / every) % 2 }">{{ b.short }}</span></span>
          </div>
        </div>
      </div>
      <details class="pr-days-table">
        <summary>As a table</summary>
        <div class="pr-table-scroll" tabindex="0" role="region" :aria-label="caption + ', as a table'">
          <table class="pr-table">
            <caption class="pr-hidden">{{ caption }}</caption>
            <thead><tr><th scope="col">Day</th><th scope="col" class="pr-right">Spent</th>
              <th scope="col" class="pr-right">May be billed</th><th scope="col" class="pr-right">Jobs</th></tr></thead>
            <tbody><tr v-for="b in [...bars].reverse()" :key="b.key">
              <td data-label="Day">{{ b.whole }}</td><td data-label="Spent" class="pr-right">{{ b.sureText }}</td>
              <td data-label="May be billed" class="pr-right">{{ b.unsureText || "–" }}</td>
              <td data-label="Jobs" class="pr-right">{{ b.jobs }}</td></tr></tbody>
          </table>
        </div>
      </details>
    </div>`,
  props: { bars: Array, lines: Array, caption: String },
  computed: {
    every() {
      return Math.ceil(this.bars.length / (this.bars.length > WIDEST ? 12 : 8));
    },
  },
};
