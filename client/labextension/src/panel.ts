// The side panel: environment and version, what differs, Save with its log, history, pipeline texts.

import { Widget } from '@lumino/widgets';

import { Api, Build, History, Status, Version, sentence } from './api';
import { Copyable, button, element } from './dom';

const LOOK_MS = 5000;
const FOLLOW_MS = 400;
const PATIENCE_MS = 60_000;
const MAX_LINES = 5000;

export class Panel extends Widget {
  private readonly environment = element('dd');
  private readonly version = element('dd');
  private readonly image = element('dd');
  private readonly drift = element('p', 'Looking…', { role: 'status', class: 'kitbag-drift' });
  private readonly lines = element('ul', '', { class: 'kitbag-lines', 'aria-label': 'What differs' });
  private readonly saveButton = button('Save', () => void this.save());
  private readonly said = element('p', '', { role: 'status', class: 'kitbag-said' });
  private readonly problem = element('p', '', { role: 'alert', class: 'kitbag-problem' });
  private readonly log = element('pre', '', { role: 'log', 'aria-label': 'Build log', tabindex: '0' });
  private readonly versions = element('ol', '', { class: 'kitbag-versions' });
  private readonly choice = element('select', '', { id: 'kitbag-choice' });
  private readonly use = element('div');
  private readonly copied = element('p', '', { role: 'status' });
  private readonly texts = {
    image: new Copyable('Image', text => this.write(this.copied, text)),
    pin: new Copyable('Pin the pipelines and jobs of this folder', text =>
      this.write(this.copied, text)
    ),
    kfp: new Copyable('Kubeflow Pipelines', text => this.write(this.copied, text))
  };
  private readonly restartButton = button('', () => void this.restart());
  private known: Version[] = [];
  private restarts = false;
  private sure = false;
  private ready = false;
  private saving = false;
  private timer = 0;

  constructor(private readonly api: Api) {
    super();
    this.addClass('kitbag-panel');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', 'Kitbag');
    this.log.hidden = true;
    this.saveButton.disabled = true;
    this.saveButton.classList.add('kitbag-main');

    const facts = element('dl');
    facts.append(
      ...[element('dt', 'Environment'), this.environment],
      ...[element('dt', 'Version'), this.version],
      ...[element('dt', 'Image'), this.image]
    );
    const actions = element('div', '', { class: 'kitbag-actions' });
    actions.append(this.saveButton, button('Refresh', () => void this.refresh()));
    const label = element('label', 'Version ', { for: 'kitbag-choice' });
    this.choice.addEventListener('change', () => this.choose());
    this.restartButton.hidden = true;
    this.use.append(label, this.choice, this.restartButton, this.copied);
    this.use.append(this.texts.image.node, this.texts.pin.node, this.texts.kfp.node);
    this.use.hidden = true;

    this.node.append(
      ...[element('h2', 'Kitbag'), facts],
      ...[element('h3', 'Installed since'), this.drift, this.lines, actions],
      ...[this.problem, this.said, this.log],
      ...[element('h3', 'History'), this.versions],
      ...[element('h3', 'Use in pipeline'), this.use]
    );
  }

  protected onAfterShow(): void {
    void this.refresh();
    window.clearInterval(this.timer);
    this.timer = window.setInterval(() => void this.look(), LOOK_MS);
  }

  protected onBeforeHide(): void {
    window.clearInterval(this.timer);
  }

  dispose(): void {
    window.clearInterval(this.timer);
    super.dispose();
  }

  private async refresh(): Promise<void> {
    this.fail('');
    const there = await this.look();
    if (there?.environment) {
      await this.remember();
    }
  }

  /** What this machine's files say; the server isn't asked. */
  private async look(): Promise<Status | null> {
    try {
      const status = await this.api.status();
      this.showStatus(status);
      return status;
    } catch (error) {
      this.ready = false;
      this.allow();
      this.write(this.drift, 'Nothing can be saved here.');
      this.lines.replaceChildren();
      this.fail(sentence(error));
      return null;
    }
  }

  private async remember(chosen?: string): Promise<void> {
    try {
      this.showHistory(await this.api.history(), chosen);
    } catch (error) {
      this.version.textContent = 'not known';
      this.fail(sentence(error));
    }
  }

  private showStatus(status: Status): void {
    this.environment.textContent = status.environment ?? 'not known';
    const base = status.base && status.base !== 'auto' ? ` on ${status.base}` : '';
    this.image.textContent = `Python ${status.python}${base}, ${counted(status.packages)}`;
    const differs =
      status.differs === 0
        ? 'Nothing differs from the image.'
        : `${counted(status.differs)} ${status.differs === 1 ? 'differs' : 'differ'} from the image.`;
    this.write(this.drift, differs);
    const shown = Array.from(this.lines.children, line => line.textContent);
    if (shown.join('\n') !== status.lines.join('\n')) {
      this.lines.replaceChildren(...status.lines.map(line => element('li', line)));
    }
    if (this.restarts !== status.restarts) {
      this.restarts = status.restarts;
      this.choose();
    }
    this.ready = status.differs > 0 && status.environment !== null;
    this.allow();
    if (status.problem) {
      this.fail(status.problem);
    }
  }

  private showHistory(history: History, chosen?: string): void {
    this.known = history.versions;
    const running = history.running === null ? 'not one of the last' : `${history.running}`;
    this.version.textContent = history.versions.length ? running : 'none is saved yet';
    this.versions.replaceChildren(
      ...history.versions.map(version => {
        const item = element('li', '', { class: 'kitbag-version' });
        const runs = version.number === history.running ? ', running here' : '';
        item.append(
          element('strong', `${version.number}`),
          element('span', ` ${counted(version.packages)}, ${when(version.created_at)}${runs}`),
          element('code', version.digest)
        );
        return item;
      })
    );
    const before = chosen ?? this.choice.value;
    this.choice.replaceChildren(
      ...this.known.map(version => element('option', version.name, { value: version.name }))
    );
    if (this.known.some(version => version.name === before)) {
      this.choice.value = before;
    }
    this.use.hidden = this.known.length === 0;
    this.choose();
  }

  private choose(): void {
    const version = this.known.find(item => item.name === this.choice.value);
    this.write(this.copied, '');
    this.sure = false;
    this.restartButton.hidden = !version || !this.restarts;
    if (version) {
      this.restartButton.textContent = `Restart this notebook on ${version.number}`;
      this.texts.image.show(version.image);
      this.texts.pin.show(version.pin);
      this.texts.kfp.show(version.kfp);
    }
  }

  /** Asks once more first: kernels and terminals of this notebook end. */
  private async restart(): Promise<void> {
    const version = this.known.find(item => item.name === this.choice.value);
    if (!version) {
      return;
    }
    if (!this.sure) {
      this.sure = true;
      this.restartButton.textContent = 'What runs here ends: restart?';
      return;
    }
    this.restartButton.disabled = true;
    this.fail('');
    this.say(`Restarting on ${version.name}…`);
    try {
      const became = await this.api.restart(version.number);
      if (became.state === 'done' || became.state === 'same') {
        this.say(`${version.name}: ${became.say}`);
      } else {
        throw new Error(became.say);
      }
    } catch (error) {
      this.say('');
      this.fail(sentence(error));
    } finally {
      this.restartButton.disabled = false;
      this.choose();
    }
  }

  private async save(): Promise<void> {
    this.saving = true;
    this.allow();
    this.fail('');
    this.say('Saving…');
    this.log.textContent = '';
    this.log.hidden = false;
    try {
      const begun = await this.api.save();
      const done = await this.follow(begun.build);
      if (done.version === null) {
        throw new Error(done.error ?? `build ${begun.build} is ${done.state}`);
      }
      this.append([done.summary ?? 'ready']);
      this.say(`Saved as ${done.version}: ${done.digest}`);
      await this.remember(done.version);
    } catch (error) {
      this.say('');
      this.fail(sentence(error));
    } finally {
      this.saving = false;
      await this.look();
    }
  }

  /** The build once it has ended; a notebook server that is away for a moment is waited for. */
  private async follow(id: string): Promise<Build> {
    let after = 0;
    let heard = Date.now();
    for (;;) {
      try {
        const build = await this.api.build(id, after);
        heard = Date.now();
        after = build.after;
        this.append(build.log);
        if (build.ended) {
          return build;
        }
      } catch (error) {
        if (Date.now() - heard > PATIENCE_MS) {
          throw new Error(`build ${id} goes on, but can't be followed: ${sentence(error)}`);
        }
      }
      await new Promise(resolve => window.setTimeout(resolve, FOLLOW_MS));
    }
  }

  private append(lines: string[]): void {
    if (lines.length) {
      this.log.append(...lines.map(line => `${line}\n`));
      while (this.log.childNodes.length > MAX_LINES) {
        this.log.firstChild?.remove();
      }
      this.log.scrollTop = this.log.scrollHeight;
    }
  }

  private allow(): void {
    this.saveButton.disabled = !this.ready || this.saving;
  }

  private say(text: string): void {
    this.write(this.said, text);
  }

  private fail(text: string): void {
    this.write(this.problem, text);
  }

  /** Only a text that changed is read out. */
  private write(node: HTMLElement, text: string): void {
    if (node.textContent !== text) {
      node.textContent = text;
    }
  }
}

function counted(packages: number): string {
  return packages === 1 ? '1 package' : `${packages} packages`;
}

function when(at: string | null): string {
  return at ? new Date(at).toLocaleString() : 'no date';
}
