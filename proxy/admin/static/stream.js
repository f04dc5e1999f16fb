// Reads `events`, and connects again when it ends, fails, or says nothing for too long.
// `fetch` instead of EventSource: it tells why it was refused.

const SILENT_MS = 8000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
const ENDED = "cutover has ended or is being restarted";

// `listener` has: event(name, data), connected(), lost(why).
export function follow(listener) {
  let wait = FIRST_WAIT_MS;
  let timer = null;
  let current = null;
  let ended = false; // it said so itself: that nobody answers then is no news

  async function connect() {
    const attempt = new AbortController();
    current = attempt;
    let why = "the connection ended";
    try {
      const response = await fetch("events", { signal: attempt.signal, cache: "no-store", headers: { Accept: "text/event-stream" } });
      if (!response.ok) throw new Error(await refusal(response));
      await read(response.body, attempt, (name, data) => {
        wait = FIRST_WAIT_MS;
        if (name === "hello") listener.connected();
        ended = name === "bye";
        if (ended) why = ENDED;
        try {
          listener.event(name, data);
        } catch (error) {
          reportError(error); // a fault of the page is not one of the connection
        }
      });
    } catch (error) {
      if (attempt.signal.aborted && attempt.signal.reason === "hidden") return;
      why = attempt.signal.aborted ? "nothing was heard for a while" : error instanceof TypeError ? (ended ? ENDED : "cutover can't be reached") : error.message;
    }
    if (current !== attempt || (attempt.signal.aborted && attempt.signal.reason === "hidden")) return;
    listener.lost(why);
    timer = setTimeout(connect, wait);
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }

  connect();
  return {
    // A page that nobody sees for long gives its place back, and takes one again at once when it is seen.
    pause() {
      clearTimeout(timer);
      current?.abort("hidden");
      current = null;
    },
    resume() {
      if (current === null) connect();
    },
  };
}

async function read(body, attempt, tell) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let silence = null;
  const listen = () => {
    clearTimeout(silence);
    silence = setTimeout(() => attempt.abort("silent"), SILENT_MS);
  };
  try {
    for (;;) {
      listen();
      const { value, done } = await reader.read();
      if (done) return;
      const frames = (rest + value).split("\n\n");
      rest = frames.pop();
      frames.forEach((frame) => dispatch(frame, tell));
    }
  } finally {
    clearTimeout(silence);
  }
}

function dispatch(frame, tell) {
  let name = "message";
  let data = "";
  for (const line of frame.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (data) tell(name, JSON.parse(data));
}

async function refusal(response) {
  try {
    return String((await response.json()).detail);
  } catch {
    return `cutover answered ${response.status}`;
  }
}
