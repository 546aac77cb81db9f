// A site as anybody writes one for a runtime with fetch events: nothing in here knows of this host.

addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  const url = new URL(request.url);
  switch (url.pathname) {
    case "/echo-js":
      return Response.json({
        method: request.method,
        query: Object.fromEntries(url.searchParams),
        kind: request.headers.get("content-type"),
        body: await request.text(),
      });
    case "/stream-js":
      return new Response(pieces(), { headers: { "content-type": "text/plain" } });
    case "/throws-js":
      throw new Error("asked to");
    case "/out-js":
      return fetch(url.searchParams.get("to")).then(
        (there) => there.text().then((text) => new Response(text)),
        () => new Response("no way out\n", { status: 502 }),
      );
    default:
      return new Response("hello from JavaScript\n");
  }
}

function pieces() {
  let number = 0;
  return new ReadableStream({
    pull(controller) {
      if (number === 3) return controller.close();
      controller.enqueue(new TextEncoder().encode(`piece ${number++}\n`));
    },
  });
}
