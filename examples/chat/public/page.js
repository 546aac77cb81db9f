// The page: shows what the chat knows, and hands it what people do.
import { Chat, hashOf } from './chat.js';
import { arrange, avatar, dress, make, person } from './dom.js';
import { Messages } from './messages.js';

const TEXT_MAX = 1_000;
const NEAR_END = 80;

const chat = new Chat();
const element = (id) => document.getElementById(id);
const scroller = element('scroller');
const text = element('text');
const messages = new Messages(element('messages'), chat, (draft) => {
  text.value = [draft, text.value].filter(Boolean).join('\n');
  text.focus();
  fit();
});

// --- who I am -------------------------------------------------------------------------------------------------------

function showMe() {
  const login = element('login');
  const wasHidden = login.hidden;
  element('chat').hidden = !chat.me;
  if (!chat.room) element('composer').hidden = true;
  // Before the first connection nobody knows; after that the form stays, whatever the connection does.
  login.hidden = Boolean(chat.me) || (wasHidden && chat.state !== 'open');
  if (chat.me) {
    element('my-name').textContent = chat.me;
    dress(element('my-avatar'), chat.me);
  } else if (wasHidden && !login.hidden) {
    element('name').focus();
    document.title = 'chat · sc-host';
  }
}

/** Has a form do something; what goes wrong is shown beside its field. */
function on(form, field, act) {
  const problem = element(field.getAttribute('aria-describedby'));
  const tell = (message) => {
    problem.textContent = message;
    field.setAttribute('aria-invalid', Boolean(message));
  };
  field.addEventListener('input', () => tell(''));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    tell('');
    try {
      await act(field.value);
      field.value = '';
    } catch (error) {
      tell(error.name === 'TimeoutError' ? 'There is no connection. Try again in a moment.' : error.message);
      field.select();
    }
  });
}

on(element('login').querySelector('form'), element('name'), (name) => chat.login(name));
on(element('create'), element('title'), (title) => chat.create(title));
on(element('word'), element('secret'), (word) => chat.join(word));
element('logout').addEventListener('click', () => chat.logout().catch(() => {}));

// --- the connection -------------------------------------------------------------------------------------------------

let patience;
function showState() {
  const banner = element('banner');
  const news = {
    connecting: 'Connecting…',
    closed: 'The connection broke. Reconnecting…',
    open: chat.waits instanceof Error && chat.messages.length ? 'What is new could not be fetched.' : '',
  }[chat.state];
  clearTimeout(patience);
  if (!news) banner.hidden = true;
  else if (banner.hidden) patience = setTimeout(() => (banner.hidden = false), 400); // a blink is not worth a word
  banner.firstElementChild.textContent = news;
  banner.lastElementChild.hidden = chat.state === 'connecting';
  showMe();
}
element('banner').lastElementChild.addEventListener('click', () => chat.refresh());

// --- rooms and people -----------------------------------------------------------------------------------------------

const entries = new Map();
function entryOf(room) {
  if (!entries.has(room.id)) {
    const link = make('a', { href: hashOf(room) },
      make('span', { className: 'sign', ariaHidden: 'true' }), make('bdi', { textContent: room.title }),
      make('span', { className: 'badge' }));
    link.addEventListener('click', closePanels);
    entries.set(room.id, make('li', {}, link));
  }
  const entry = entries.get(room.id);
  const [sign, , badge] = entry.firstElementChild.children;
  const unread = room === chat.room ? 0 : chat.unread(room);
  const hasFailed = room !== chat.room && chat.hasFailed(room);
  entry.classList.toggle('unread', unread > 0);
  entry.classList.toggle('unsent', hasFailed);
  if (room === chat.room) entry.firstElementChild.setAttribute('aria-current', 'page');
  else entry.firstElementChild.removeAttribute('aria-current');
  sign.replaceChildren(room.locked ? icon('lock') : '#');
  const said = make('span', { className: 'unseen', textContent: ' unread' });
  badge.replaceChildren(...(unread ? [unread > 99 ? '99+' : String(unread), said] : []));
  if (hasFailed) badge.replaceChildren('Not sent');
  entry.firstElementChild.title = room.locked ? 'For members only' : '';
  return entry;
}

function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#icon-${name}`);
  svg.append(use);
  return svg;
}

function showRooms() {
  const rooms = [...chat.rooms.values()];
  arrange(element('room-list'), rooms.map(entryOf));
  const unread = rooms.reduce((sum, room) => sum + chat.unread(room), 0);
  const elsewhere = rooms.filter((room) => room !== chat.room);
  element('elsewhere').hidden = !elsewhere.some((room) => chat.unread(room) || chat.hasFailed(room));
  if (chat.room) document.title = `${unread ? `(${unread}) ` : ''}${chat.room.title} · chat`;
}

function showPeople() {
  const items = chat.people.map((name) => {
    const note = name === chat.me ? [make('span', { className: 'note', textContent: 'you' })] : [];
    return make('li', {}, avatar(name), person(name), ...note);
  });
  element('people-list').replaceChildren(...items);
  element('count').textContent = chat.people.length || '';
}

function showTyping() {
  const [one, two, ...more] = [...chat.typing.keys()];
  let who = ['Several people are'];
  if (!two) who = [person(one ?? ''), ' is'];
  else if (!more.length) who = [person(one), ' and ', person(two), ' are'];
  element('typing').replaceChildren(...(one ? [...who, ' typing…'] : []));
}

function closePanels() {
  for (const panel of document.querySelectorAll('[popover]:popover-open')) panel.hidePopover();
}

addEventListener('hashchange', () => {
  chat.follow();
  showAddress();
});

/** Has the address name the open room, whatever it named. */
function showAddress() {
  if (chat.room && location.hash !== hashOf(chat.room)) history.replaceState(null, '', hashOf(chat.room));
}

// --- messages -------------------------------------------------------------------------------------------------------

let atEnd = true;
const toEnd = () => (scroller.scrollTop = scroller.scrollHeight);

function showRoom() {
  closePanels();
  atEnd = true;
  element('room-title').textContent = chat.room.title;
  element('room-topic').textContent = chat.room.topic;
  text.placeholder = `Message ${chat.room.title}`;
  showAddress();
  showMessages();
  showRooms();
  showPeople();
  showTyping();
  if (matchMedia('(hover: hover)').matches) (chat.room.locked ? element('secret') : text).focus();
}

function showMessages() {
  if (!chat.room) return;
  const { waits, room } = chat;
  const isEmpty = chat.messages.length === 0 && !room.locked;
  element('word').hidden = !room.locked;
  element('composer').hidden = room.locked;
  if (!isEmpty) showNote([]);
  else if (waits === 'loading') showNote(['Loading…']);
  else showNote(waits ? [waits.message, 'retry'] : ['No messages yet', 'Say something nice.']);
  messages.show(chat.messages, chat.newFrom);
  element('log').setAttribute('aria-busy', waits === 'loading'); // history that is there by then is not read out
  if (atEnd || chat.messages.at(-1)?.id === null) toEnd();
  else element('newest').classList.toggle('news', chat.unread(room) > 0);
  seen();
}

function showNote([title, more]) {
  const note = element('note');
  note.hidden = !title;
  if (!title) return;
  const retry = make('button', { type: 'button', className: 'primary', textContent: 'Try again' });
  retry.addEventListener('click', () => chat.enter(chat.room.id));
  const below = more === 'retry' ? retry : make('p', { textContent: more ?? '' });
  note.replaceChildren(make('h3', { textContent: title }), below);
}

function seen() {
  const isSeen = atEnd && document.visibilityState === 'visible' && chat.room && !chat.room.locked && !chat.waits;
  if (isSeen) chat.seen();
}

scroller.addEventListener('scroll', () => {
  atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END;
  element('newest').hidden = atEnd;
  if (atEnd) element('newest').classList.remove('news');
  seen();
});
element('newest').addEventListener('click', toEnd);
// The end stays in sight when a keyboard opens or the draft grows.
new ResizeObserver(() => atEnd && toEnd()).observe(scroller);
addEventListener('visibilitychange', seen);

// --- writing --------------------------------------------------------------------------------------------------------

function fit() {
  text.style.height = 'auto';
  text.style.height = `${text.scrollHeight}px`;
  const left = TEXT_MAX - [...text.value.trim()].length;
  element('left').hidden = left > 100;
  element('left').textContent = left;
  element('left').classList.toggle('over', left < 0);
}

text.addEventListener('input', () => {
  fit();
  if (text.value.trim()) chat.isTyping();
});
text.addEventListener('keydown', (event) => {
  const isComposing = event.isComposing || event.keyCode === 229; // Safari says the latter of the Enter that confirms
  if (event.key !== 'Enter' || event.shiftKey || isComposing) return;
  event.preventDefault();
  element('composer').requestSubmit();
});
element('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  if (!text.value.trim()) return;
  chat.send(text.value.trim());
  text.value = '';
  text.focus();
  fit();
});

const views = {
  state: showState, me: showMe, rooms: showRooms, room: showRoom,
  messages: showMessages, people: showPeople, typing: showTyping,
};
for (const [event, show] of Object.entries(views)) chat.addEventListener(event, show);
showState();
