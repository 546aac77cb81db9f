// What the page shows and what is done on it. It knows nothing of connections: those are in app.js.

const element = (id) => document.getElementById(id);
const form = element('say');
/** Messages that the page keeps: one that stays open for days does not grow. */
const MESSAGES_MAX = 200;

/** Shows how the connection is: `connecting`, `connected` or `disconnected`. */
export function showState(state) {
  element('state').textContent = state;
  element('state').dataset.state = state;
}

/** Shows a value: `greet`, `rand` or `pong`. */
export function show(id, value) {
  const output = element(id);
  output.textContent = value;
  output.classList.remove('fresh');
  void output.offsetWidth; // begins the animation anew
  output.classList.add('fresh');
}

/** Adds a message to the chat. */
export function showMessage({ name, text }) {
  const line = document.createElement('li');
  const who = document.createElement('b');
  who.textContent = name;
  line.append(who, text);
  const list = element('messages');
  const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 40;
  list.append(line);
  while (list.children.length > MESSAGES_MAX) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

/** Calls back at each click on the button. */
export function onPing(listener) {
  element('ping').addEventListener('click', listener);
}

/** Calls back with `{ name, text }` that is to be said. What the promise fails with is shown. */
export function onSay(listener) {
  const { name, text } = form.elements;
  name.value = localStorage.getItem('name') ?? '';
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const message = { name: name.value, text: text.value };
    localStorage.setItem('name', message.name);
    element('problem').hidden = true;
    // At once: until the answer is there, the next message may have been begun.
    text.value = '';
    text.focus();
    try {
      await listener(message);
    } catch (error) {
      text.value ||= message.text;
      element('problem').textContent = error.message ?? error;
      element('problem').hidden = false;
    }
  });
}
