// Elements with text: what servers send never becomes markup.

import { Clipboard } from '@jupyterlab/apputils';

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  text = '',
  attributes: Record<string, string> = {}
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) {
    made.setAttribute(name, value);
  }
  return made;
}

export function button(text: string, action: () => void): HTMLButtonElement {
  const made = element('button', text, { type: 'button', class: 'kitbag-button' });
  made.addEventListener('click', action);
  return made;
}

/** A text to take elsewhere, under a heading, with a button that copies it. */
export class Copyable {
  readonly node = element('div', '', { class: 'kitbag-copyable' });
  private readonly text: HTMLPreElement;

  constructor(what: string, say: (text: string) => void) {
    this.text = element('pre', '', { tabindex: '0', 'aria-label': what });
    const copy = button('Copy', () => {
      Clipboard.copyToSystem(this.text.textContent ?? '');
      say(`${what} copied`);
    });
    copy.setAttribute('aria-label', `Copy: ${what}`);
    const head = element('div', '', { class: 'kitbag-head' });
    head.append(element('h4', what), copy);
    this.node.append(head, this.text);
  }

  show(text: string): void {
    this.text.textContent = text;
  }
}
