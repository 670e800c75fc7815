import { type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts';

// The simulated EKS as a process: options as JSON in the first argument, its URL on the
// first line of output, and it runs until SIGTERM.
const options = JSON.parse(process.argv[2] ?? '{}') as SimulatorOptions;
const simulator = await startSimulator(options);
process.stdout.write(`${simulator.url}\n`);
process.once('SIGTERM', () => void simulator.close());
