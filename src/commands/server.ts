import { once } from 'node:events';
import { Command } from 'commander';
import { addServerOptions, serverConfig, unknownVariables } from '../config/server-options.ts';
import type { Log } from '../telemetry/log.ts';
import { requireUsableEnvironment } from './aws-environment.ts';
import { endProcess, lastWrite } from './end-process.ts';
import { SERVER_UID_VARIABLE } from './initialize.ts';

/** Exit status after an unexpected error (EX_SOFTWARE of sysexits.h). */
const UNEXPECTED = 70;

/** `server`: the broker itself, until SIGTERM or SIGINT. */
export function serverCommand(): Command {
  return addServerOptions(new Command('server'))
    .description('answer the pods of this node')
    .action(async (_flags, command: Command) => {
      const config = serverConfig(command, process.env);
      requireUsableEnvironment(command, config, process.env);
      // Loaded here, so that other commands and wrong flags cost no time.
      const [{ startBroker }, { createLog }] = await Promise.all([
        import('../broker/broker.ts'),
        import('../telemetry/log.ts'),
      ]);
      let dropped = 0;
      const log = createLog(config.verbosity, () => {
        dropped += 1;
      });
      exitOnUnexpected(log);
      const unknown = unknownVariables(command, process.env, [SERVER_UID_VARIABLE]);
      if (unknown.length > 0) log.warn({ names: unknown }, 'variables that no flag reads');
      let code = 0;
      try {
        const signal = stopSignal();
        const broker = await startBroker({
          config,
          environment: process.env,
          log,
          logLinesDropped: () => dropped,
          signal,
        });
        if (!signal.aborted) await once(signal, 'abort');
        await broker.stop();
      } catch (error) {
        log.fatal({ reason: (error as Error).message }, 'startup failed');
        code = 1;
      }
      log.flush();
      await lastWrite();
      // Whatever is still pending by now must not keep the process, or its port.
      endProcess(code);
    });
}

/**
 * An error that nobody expected leaves the process in a state that nobody knows: it is logged
 * and ends the process, so that it is started anew and never lives on holding the port.
 */
function exitOnUnexpected(log: Log): void {
  const exit = (error: unknown) => {
    log.fatal({ err: error }, 'unexpected error; exiting');
    log.flush();
    endProcess(UNEXPECTED);
  };
  process.on('uncaughtException', exit);
  process.on('unhandledRejection', exit);
  // Whoever may signal the process must not get a debugger, and with it all secrets.
  process.on('SIGUSR1', () => log.warn('SIGUSR1 starts no debugger here'));
}

/** Aborted by the first SIGTERM or SIGINT. */
function stopSignal(): AbortSignal {
  const controller = new AbortController();
  process.once('SIGTERM', () => controller.abort());
  process.once('SIGINT', () => controller.abort());
  return controller.signal;
}
