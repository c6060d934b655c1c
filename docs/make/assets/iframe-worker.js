// Browsers start no worker from a page that is opened from disk: an empty frame runs the search's script in its place.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(script) {
      super()
      this.waiting = []
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.frame.title = "search"
      document.documentElement.append(this.frame)
      this.inside = this.frame.contentWindow
      this.inside.postMessage = data => this.answer(data)
      const element = this.inside.document.createElement("script")
      element.src = new URL(script, location.href)
      element.onload = () => {
        const waiting = this.waiting
        this.waiting = null
        waiting.forEach(data => this.deliver(data))
      }
      this.inside.document.head.append(element)
    }

    postMessage(data) {
      if (this.waiting) this.waiting.push(data)
      else this.deliver(data)
    }

    // Each side hears the other later, as with a worker, and not in the middle of its own call.
    deliver(data) {
      setTimeout(() => this.inside.dispatchEvent(new this.inside.MessageEvent("message", { data })))
    }

    answer(data) {
      setTimeout(() => {
        const event = new MessageEvent("message", { data })
        this.onmessage?.(event)
        this.dispatchEvent(event)
      })
    }

    terminate() {
      this.frame.remove()
    }
  }
}
