// A file to choose, or to drop here; it is sent to the page's own address for it.
export default {
  template: `
    <div :class="['pr-drop', over ? 'pr-drop-over' : '']" @dragover.prevent="over = true"
      @dragleave="over = false" @drop.prevent="over = false; send($event.dataTransfer.files[0])">
      <label class="pr-drop-label">
        <span class="pr-strong">{{ label }}</span>
        <span class="pr-small">{{ hint }}</span>
        <input type="file" :accept="accept" :disabled="busy" @change="chosen">
      </label>
      <p class="pr-small" role="status">{{ said }}</p>
    </div>`,
  props: { url: String, label: String, hint: String, accept: String, maxFileSize: Number },
  data: () => ({ over: false, busy: false, said: "" }),
  methods: {
    chosen(event) {
      this.send(event.target.files[0]);
      event.target.value = "";
    },
    async send(file) {
      if (!file || this.busy) return;
      const size = (file.size / 1e6).toFixed(1);
      if (this.maxFileSize && file.size > this.maxFileSize) {
        this.said = `${file.name} has ${size} MB; at most ${this.maxFileSize / 1e6} MB are taken here.`;
        return;
      }
      this.busy = true;
      this.said = `Sending ${file.name} (${size} MB)…`;
      const form = new FormData();
      form.append("file", file, file.name);
      try {
        const answer = await fetch((window.path_prefix || "") + this.url, { method: "POST", body: form });
        this.said = answer.ok ? "" : `${file.name} could not be sent (${answer.status}).`;
      } catch {
        this.said = `${file.name} could not be sent: the line dropped.`;
      } finally {
        this.busy = false;
      }
    },
  },
};
