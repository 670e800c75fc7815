import { once } from 'node:events';
import { Command } from 'commander';
import { addServerOptions, serverConfig } from '../config/server-options.ts';

/** `server`: the broker itself, until SIGTERM or SIGINT. */
export function serverCommand(): Command {
  return addServerOptions(new Command('server'))
    .description('answer the pods of this node')
    .action(async (_flags, command: Command) => {
      const config = serverConfig(command, process.env);
      // Loaded here, so that other commands and wrong flags cost no time.
      const [{ startBroker }, { createLog }] = await Promise.all([
        import('../broker.ts'),
        import('../telemetry/log.ts'),
      ]);
      const log = createLog(config.verbosity);
      try {
        const stop = stopSignal();
        const broker = await startBroker(config, process.env, log, stop);
        if (!stop.aborted) await once(stop, 'abort');
        await broker.stop();
      } catch (error) {
        log.fatal({ reason: (error as Error).message }, 'cannot run');
        process.exitCode = 1;
      }
      log.flush();
      // Whatever is still pending by now must not keep the process, or its port.
      process.exit();
    });
}

/** Aborted by the first SIGTERM or SIGINT. */
function stopSignal(): AbortSignal {
  const controller = new AbortController();
  process.once('SIGTERM', () => controller.abort());
  process.once('SIGINT', () => controller.abort());
  return controller.signal;
}
