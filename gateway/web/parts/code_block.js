// A program in colours: runs of text, each with the kind of what it is.
export default {
  template: `<div class="pr-snippet">
    <pre tabindex="0" role="region" :aria-label="name"><code><span v-for="([kind, words], at) in runs"
      :key="at" :class="kind ? 'pr-code-' + kind : null">{{ words }}</span></code></pre></div>`,
  props: { runs: Array, name: String },
};
