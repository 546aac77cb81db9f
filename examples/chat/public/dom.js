// Small pieces of the page: elements, names and their avatars.

const hues = new Map();

function hue(name) {
  if (!hues.has(name)) {
    let hash = 0x811c9dc5;
    for (const character of name.toLowerCase()) hash = Math.imul(hash ^ character.codePointAt(0), 0x01000193);
    hues.set(name, (hash >>> 0) % 360);
  }
  return hues.get(name);
}

function initials(name) {
  const words = name.split(/[\s\-_.]+/).filter(Boolean);
  const letters = words.length > 1 ? words.slice(0, 2).map((word) => [...word][0]) : [...(words[0] ?? '?')].slice(0, 2);
  return letters.join('').toUpperCase();
}

/** Makes an element an avatar. */
export function dress(element, name) {
  element.textContent = initials(name);
  element.style.setProperty('--hue', hue(name));
  return element;
}

/** A new element with these properties and children. Text is only ever set as text. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export const avatar = (name) => {
  const element = dress(make('span', { className: 'avatar' }), name);
  element.setAttribute('aria-hidden', 'true');
  return element;
};

/** A name that does not turn the text around it, whichever way it is written. */
export const person = (name) => {
  const element = make('bdi', { className: 'person', textContent: name });
  element.style.setProperty('--hue', hue(name));
  return element;
};

/** Puts elements into their order below a parent, and touches only those that are not in their place. */
export function arrange(parent, elements) {
  const wanted = new Set(elements);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  elements.forEach((element, place) => {
    if (parent.children[place] !== element) parent.insertBefore(element, parent.children[place] ?? null);
  });
}
