// What the extension of the notebook server answers, below /kitbag.

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

export interface Status {
  environment: string | null;
  problem: string | null;
  python: string;
  base: string | null;
  packages: number;
  differs: number;
  lines: string[];
  restarts: boolean;
}

export interface Restarted {
  state: string;
  say: string;
}

export interface Version {
  number: number;
  name: string;
  image: string;
  digest: string;
  packages: number;
  created_at: string | null;
  pin: string;
  kfp: string;
}

export interface History {
  environment: string;
  running: number | null;
  versions: Version[];
}

export interface Begun {
  build: string;
  environment: string;
}

export interface Build {
  state: string;
  ended: boolean;
  after: number;
  log: string[];
  error: string | null;
  summary: string | null;
  version: string | null;
  image: string | null;
  digest: string | null;
}

/** Asks the notebook server, which shows Jupyter's own token and XSRF cookie by itself. */
export class Api {
  private readonly settings = ServerConnection.makeSettings();

  status(): Promise<Status> {
    return this.ask<Status>('status');
  }

  history(): Promise<History> {
    return this.ask<History>('history');
  }

  save(): Promise<Begun> {
    return this.ask<Begun>('save', { method: 'POST' });
  }

  restart(number: number): Promise<Restarted> {
    return this.ask<Restarted>(`restart?to=${number}`, { method: 'POST' });
  }

  build(id: string, after: number): Promise<Build> {
    return this.ask<Build>(`builds/${encodeURIComponent(id)}?after=${after}`);
  }

  private async ask<T>(path: string, init: RequestInit = {}): Promise<T> {
    const url = URLExt.join(this.settings.baseUrl, 'kitbag', path);
    const response = await ServerConnection.makeRequest(url, init, this.settings);
    const text = await response.text();
    let answer: unknown;
    try {
      answer = JSON.parse(text);
    } catch {
      throw new Error(`the notebook server answers ${response.status} and no JSON`);
    }
    if (!response.ok) {
      const message = (answer as { message?: unknown }).message;
      throw new Error(
        typeof message === 'string' ? message : `the notebook server answers ${response.status}`
      );
    }
    return answer as T;
  }
}

export function sentence(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
