// A list that lives: what is new comes in above, and what stands stays as it is.
import { say, sayWhole } from "/web/static/moments.js";

export default {
  template: `
    <ol class="pr-acts" aria-label="Acts, the latest first">
      <li v-for="a in acts" :key="a.id" class="pr-act">
        <div class="pr-act-when"><time :datetime="a.at" :title="whole(a.at)">{{ ago(a.at) }}</time></div>
        <div class="pr-act-what">
          <p class="pr-act-line"><strong>{{ a.actor }}</strong>
            <span :class="'pr-badge pr-' + a.tone"><span>{{ a.action }}</span></span>
            <a v-if="a.href" :href="prefix + a.href"><code>{{ a.target }}</code></a>
            <code v-else>{{ a.target }}</code></p>
          <dl v-if="a.changes.length" class="pr-diff">
            <div v-for="c in a.changes" :key="c.field">
              <dt>{{ c.field }}</dt>
              <dd><del v-if="c.old !== null">{{ c.old }}</del>
                <span v-if="c.old !== null && c.new !== null" class="pr-diff-to" role="img" aria-label="became">→</span>
                <ins v-if="c.new !== null">{{ c.new }}</ins></dd>
            </div>
          </dl>
        </div>
        <p class="pr-act-from pr-small"><span>{{ a.source }}</span><span v-if="a.request">{{ a.request }}</span></p>
      </li>
    </ol>`,
  props: { acts: Array },
  data: () => ({ now: Date.now(), prefix: "" }),
  methods: {
    ago(at) {
      return say(at, this.now);
    },
    whole: sayWhole,
  },
  mounted() {
    this.timer = setInterval(() => (this.now = Date.now()), 1000);
    setTimeout(() => (this.prefix = window.path_prefix || ""), 0);
  },
  unmounted() {
    clearInterval(this.timer);
  },
};
