// `node resumable_stream.mjs PORT` with REDIS_URL: the npm package as its documentation shows it, behind node:http.
// /stream makes a stream of that id or follows the one there is; /watch follows it, from its beginning.
import { createServer } from "node:http";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { createResumableStreamContext } from "resumable-stream";

const context = createResumableStreamContext({ waitUntil: () => {} });
const now = () => Number(process.hrtime.bigint()) / 1e9;
const made = []; // as source.py keeps them
const token = (k) => (made[k] ??= `⟨${k}:${crc32(String(k)).toString(16).padStart(8, "0")}⟩`);

// Debian 12's Node 18 has none in node:zlib.
const crcs = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});
function crc32(digits) {
  let crc = 0xffffffff;
  for (const digit of digits) crc = (crc >>> 8) ^ crcs[(crc ^ digit.charCodeAt(0)) & 0xff];
  return (crc ^ 0xffffffff) >>> 0;
}

function source(at, tokens, rate) {
  let k = 0;
  return new ReadableStream({
    async pull(controller) {
      if (k >= tokens) return controller.close();
      const early = (at + k / rate - now()) * 1000;
      if (early > 0) await sleep(early); // what is due comes at once, as in source.py
      controller.enqueue(`data: ${token(k++)}\n\n`);
    },
  });
}

createServer(async (request, response) => {
  const { pathname, searchParams: query } = new URL(request.url, "http://x");
  const id = query.get("channel");
  const [at, tokens, rate] = ["at", "tokens", "rate"].map((name) => Number(query.get(name)));
  const stream =
    pathname === "/stream"
      ? await context.resumableStream(id, () => source(at, tokens, rate))
      : await context.resumeExistingStream(id);
  response.writeHead(stream ? 200 : 404, { "content-type": "text/event-stream" });
  response.flushHeaders();
  if (!stream) return response.end();
  Readable.fromWeb(stream.pipeThrough(new TextEncoderStream())).pipe(response);
}).listen(Number(process.argv[2]), "127.0.0.1", 2048);
