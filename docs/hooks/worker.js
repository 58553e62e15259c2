// Browsers start no worker from a page that was opened from a disk: a hidden frame stands in for it.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.documentElement.append(this.frame)
      const inside = this.frame.contentWindow
      const page = inside.document
      const say = data => {
        const event = new MessageEvent("message", { data })
        this.dispatchEvent(event)
        if (this.onmessage) this.onmessage(event)
      }
      // Within, postMessage answers, and scripts are loaded in order, each once the last has run.
      page.open()
      page.write("<!doctype html><body></body>")
      page.close()
      inside.postMessage = say
      const load = address => new Promise((done, failed) => {
        const script = page.createElement("script")
        script.src = new URL(address, document.baseURI)
        script.onload = done
        script.onerror = failed
        page.body.append(script)
      })
      inside.importScripts = (...all) => all.reduce((last, next) => last.then(() => load(next)), Promise.resolve())
      load(url).then(() => {
        this.ready = true
        this.waiting.splice(0).forEach(data => this.deliver(data))
      }, error => this.dispatchEvent(new ErrorEvent("error", { error })))
    }
    deliver(data) {
      const inside = this.frame.contentWindow
      inside.dispatchEvent(new inside.MessageEvent("message", { data }))
    }
    postMessage(data) {
      this.ready ? this.deliver(data) : this.waiting.push(data)
    }
    terminate() {
      this.frame.remove()
    }
  }
}
