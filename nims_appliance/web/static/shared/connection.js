// The live socket: connects, reconnects by itself, takes messages apart, and knows how old a ping is.

const PROTOCOL = 1;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 5000;
const SILENCE_MS = 5000; // the server says something every second

/**
 * Estimates how old a server time is by now, without trusting this computer's clock: the message that travelled
 * fastest sets the difference between the two clocks.
 */
export class ServerClock {
  #offsetS = Infinity;

  heard(timeS, nowS) {
    const offset = nowS - timeS;
    // Creeps up by 0.1 ms a message, so that drifting clocks are followed; a clock that was set is followed at once.
    const creeping = this.#offsetS + 1e-4;
    this.#offsetS = offset < creeping || offset > creeping + 30 ? offset : creeping;
  }

  age(timeS, nowS) {
    return Math.max(0, nowS - this.#offsetS - timeS);
  }
}

/** Reads a picture message: {head, bytes}. */
export function readPicture(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  return { head, bytes: new Uint8Array(buffer, 4 + length, head.rows * head.columns) };
}

/** handlers: {state(connected), message(object), picture(picture)} */
export class Connection {
  #handlers;
  #socket = null;
  #retryMs = FIRST_RETRY_MS;
  #lastHeard = 0;

  constructor(handlers) {
    this.#handlers = handlers;
    this.#open();
    setInterval(() => this.#watch(), 1000);
    addEventListener("online", () => this.#socket || this.#open());
  }

  seen(sonar, frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(JSON.stringify({ type: "seen", sonar, frame }));
    }
  }

  #open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/livesocket?v=${PROTOCOL}`);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#lastHeard = performance.now();
    socket.onmessage = ({ data }) => {
      this.#lastHeard = performance.now();
      if (data instanceof ArrayBuffer) {
        this.#handlers.picture(readPicture(data));
        return;
      }
      const message = JSON.parse(data);
      if (message.type === "hello") {
        this.#retryMs = FIRST_RETRY_MS;
        // A newer appliance may speak a newer protocol: its own page knows it.
        if (message.protocol !== PROTOCOL) location.reload();
        this.#handlers.state(true);
      } else {
        this.#handlers.message(message);
      }
    };
    socket.onclose = () => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.#handlers.state(false);
      setTimeout(() => this.#socket || this.#open(), this.#retryMs);
      this.#retryMs = Math.min(this.#retryMs * 1.5, LONGEST_RETRY_MS);
    };
  }

  #watch() {
    // A pulled cable closes nothing: silence is the only sign.
    if (this.#socket && performance.now() - this.#lastHeard > SILENCE_MS) {
      const silent = this.#socket;
      silent.close();
      silent.onclose();
      silent.onmessage = null;
    }
  }
}
