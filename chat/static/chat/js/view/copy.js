/** Copying, with an answer on the button that was pressed. */

const SHOWN_MS = 1_600;

export async function copyCode(button) {
  const code = button.closest(".code").querySelector("code");
  await copy(button, code.textContent);
}

export async function copyText(event, text) {
  await copy(event.currentTarget, text);
}

async function copy(button, text) {
  if (!(await write(text))) return;
  button.dataset.copied = "";
  setTimeout(() => delete button.dataset.copied, SHOWN_MS);
}

async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return writeTheOldWay(text); // plain http has no clipboard
  }
}

function writeTheOldWay(text) {
  const area = document.createElement("textarea");
  area.className = "only-spoken";
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
