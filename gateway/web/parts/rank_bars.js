// The first few rows; the rest is a button away.
export default {
  template: `
    <div class="pr-ranks">
      <div class="pr-table-scroll" tabindex="0" role="region" :aria-label="'Spend by ' + kind.toLowerCase()">
        <table class="pr-table">
          <caption class="pr-hidden">Spend by {{ kind.toLowerCase() }}</caption>
          <thead><tr><th scope="col">{{ kind }}</th><th scope="col" class="pr-ranks-head"><span class="pr-hidden">Share</span></th>
            <th scope="col" class="pr-right">Spent</th><th scope="col" class="pr-right">May be billed</th>
            <th scope="col" class="pr-right">Jobs</th></tr></thead>
          <tbody><tr v-for="b in shown" :key="b.name">
            <td :data-label="kind"><span class="pr-long" :title="b.name">{{ b.name }}</span></td>
            <td class="pr-ranks-cell" data-label="Share"><span class="pr-ranks-track" aria-hidden="true">
              <span class="pr-ranks-sure" :style="{ width: b.sure * 100 + '%' }"></span>
              <span class="pr-ranks-unsure" :style="{ width: b.unsure * 100 + '%' }"></span></span>
              <span class="pr-small">{{ b.share }}</span></td>
            <td class="pr-right pr-strong" data-label="Spent">{{ b.sureText }}</td>
            <td class="pr-right" data-label="May be billed">{{ b.unsureText || "–" }}</td>
            <td class="pr-right" data-label="Jobs">{{ b.jobs }}</td></tr></tbody>
        </table>
      </div>
      <p v-if="all && left" class="pr-small">and {{ left }} more, which the API lists</p>
      <button v-if="bars.length > few" type="button" class="pr-mini" @click="all = !all" :aria-expanded="all">
        {{ all ? "Show fewer" : "Show all " + bars.length }}</button>
    </div>`,
  props: { bars: Array, kind: String, few: Number, left: Number },
  data: () => ({ all: false }),
  computed: {
    shown() {
      return this.all ? this.bars : this.bars.slice(0, this.few);
    },
  },
};
