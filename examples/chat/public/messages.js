// The list of messages: days, who spoke, what is on its way, and where new ones begin. Each message keeps its element,
// so only what changed is touched, and read out.
import { arrange, avatar, make, person } from './dom.js';

/** Messages of one person this near to each other stand together. */
const TOGETHER = 5 * 60_000;
const EMOJI = /^(?:[\p{Extended_Pictographic}\p{Emoji_Modifier}\u{1f1e6}-\u{1f1ff}\u200d\ufe0f]){1,14}$/u;

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const date = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });

function dayOf(at) {
  const days = (at) => Math.floor((at - new Date(at).getTimezoneOffset() * 60_000) / 86_400_000);
  const ago = days(Date.now()) - days(at);
  return ago === 0 ? 'Today' : ago === 1 ? 'Yesterday' : date.format(at);
}

export class Messages {
  #list;
  #chat;
  #onEdit;
  #elements = new WeakMap();
  #lines = new Map();
  #newLine = make('li', { className: 'line new', textContent: 'New' });

  /** `onEdit` gets the text of a message that is taken back. */
  constructor(list, chat, onEdit) {
    this.#list = list;
    this.#chat = chat;
    this.#onEdit = onEdit;
  }

  show(messages, newFrom) {
    const elements = [];
    let before;
    for (const message of messages) {
      const isCut = before?.id && message.id > before.id + 1;
      if (isCut) elements.push(this.#line(`before ${message.id}`, 'What was said in between is not kept'));
      const day = dayOf(message.at);
      if (!before || day !== dayOf(before.at)) elements.push(this.#line(day));
      const isNew = newFrom !== null && message.id === newFrom;
      if (isNew) elements.push(this.#newLine);
      const follows = before && elements.at(-1) === this.#elements.get(before)
        && before.by === message.by && message.at - before.at < TOGETHER;
      elements.push(this.#message(message, !follows));
      before = message;
    }
    arrange(this.#list, elements);
  }

  #line(key, textContent = key) {
    if (!this.#lines.has(key)) this.#lines.set(key, make('li', { className: 'line', textContent }));
    return this.#lines.get(key);
  }

  #message(message, isFirst) {
    if (!this.#elements.has(message)) this.#elements.set(message, this.#make(message));
    const element = this.#elements.get(message);
    element.classList.toggle('first', isFirst);
    element.classList.toggle('pending', message.id === null && !message.problem);
    element.classList.toggle('failed', Boolean(message.problem));
    const moment = element.querySelector('time');
    const at = new Date(message.at).toISOString();
    if (moment.dateTime !== at) {
      Object.assign(moment, { dateTime: at, textContent: time.format(message.at), title: full.format(message.at) });
    }
    this.#status(element, message);
    return element;
  }

  #make(message) {
    const isMine = message.by === this.#chat.me;
    const text = make('p', { className: 'text', dir: 'auto', textContent: message.text });
    text.classList.toggle('large', EMOJI.test(message.text));
    return make('li', { className: `message${isMine ? ' mine' : ''}` },
      avatar(message.by),
      make('div', { className: 'body' },
        make('p', { className: 'meta' }, person(message.by), ' ', make('time')),
        text));
  }

  /** Whether it arrived; if not, why, and what can be done. */
  #status(element, message) {
    const { problem } = message;
    const known = element.querySelector('.status');
    if (!problem) return known?.remove();
    if (known?.dataset.problem === problem) return;
    known?.remove();
    const button = (label, act) => {
      const button = make('button', { type: 'button', textContent: label });
      button.addEventListener('click', act);
      return button;
    };
    const status = make('p', { className: 'status' }, make('span', { textContent: `Not sent. ${problem}` }), ' ',
      button('Try again', () => this.#chat.retry(message)), ' ',
      button('Edit', () => {
        this.#chat.takeBack(message);
        this.#onEdit(message.text);
      }));
    status.dataset.problem = problem;
    element.querySelector('.body').append(status);
  }
}
