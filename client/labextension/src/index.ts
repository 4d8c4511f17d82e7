// The plugin that puts the panel into JupyterLab's left side bar.

import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { LabIcon } from '@jupyterlab/ui-components';

import { Api } from './api';
import { Panel } from './panel';

const SHOW = 'kitbag:show';

const icon = new LabIcon({
  name: 'kitbag:bag',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" width="16">' +
    '<path class="jp-icon3 jp-icon-selectable" fill="#616161" d="M8 6V5a4 4 0 0 1 8 0v1h3a1 1 0 0 1 ' +
    '1 1v13a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2V7a1 1 0 0 1 1-1zm2 0h4V5a2 2 0 0 0-4 0zm1 4v3H8v2h3v3h2v-3' +
    'h3v-2h-3v-3z"/></svg>'
});

const plugin: JupyterFrontEndPlugin<void> = {
  id: 'kitbag:panel',
  description: 'What was installed in this notebook, saved as a new version of its environment.',
  autoStart: true,
  optional: [ILayoutRestorer, ICommandPalette],
  activate: (
    app: JupyterFrontEnd,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null
  ) => {
    const panel = new Panel(new Api());
    panel.id = 'kitbag-panel';
    panel.title.icon = icon;
    panel.title.caption = 'Kitbag: save what was installed';
    app.shell.add(panel, 'left', { rank: 700 });
    restorer?.add(panel, 'kitbag-panel');
    app.commands.addCommand(SHOW, {
      label: 'Kitbag: Show What Was Installed',
      execute: () => app.shell.activateById(panel.id)
    });
    palette?.addItem({ command: SHOW, category: 'Kitbag' });
  }
};

export default plugin;
