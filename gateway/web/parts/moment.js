// A time, kept true each second.
import { say, sayWhole } from "/web/static/moments.js";

export default {
  template: `<time :datetime="at" :title="title">{{ words }}</time>`,
  props: { at: String, absolute: Boolean },
  data: () => ({ now: Date.now() }),
  computed: {
    title() {
      return this.at ? sayWhole(this.at) : "";
    },
    words() {
      if (!this.at) return "–";
      return this.absolute ? this.title : say(this.at, this.now);
    },
  },
  mounted() {
    this.timer = setInterval(() => (this.now = Date.now()), 1000);
  },
  unmounted() {
    clearInterval(this.timer);
  },
};
