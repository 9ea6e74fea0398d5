// Questions to the console's own server.

async function answer(response) {
  const body = await response.json().catch(() => ({ error: `The console answered ${response.status}.` }));
  if (!response.ok) throw new Error(body.error);
  return body;
}

async function send(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The console does not answer. Is `debut console` still running?");
  }
  return answer(response);
}

export function get(name, parameters = {}, signal = undefined) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null);
  return send(`/api/${name}?${new URLSearchParams(given)}`, { signal });
}

export const post = (name, body, token) =>
  send(`/api/${name}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  });

/** A function of which only the latest call counts: earlier ones are given up. */
export function latest(ask, show, fail) {
  let running = null;
  return async (...given) => {
    running?.abort();
    const mine = (running = new AbortController());
    try {
      const found = await ask(mine.signal, ...given);
      if (running === mine) show(found, ...given);
    } catch (error) {
      if (running === mine && error.name !== "AbortError") fail(error, ...given);
    }
  };
}

export function debounced(call, milliseconds = 200) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...given), milliseconds);
  };
}
