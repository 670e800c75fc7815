import { InvalidArgumentError } from 'commander';

/**
 * Makes a reader of flag values one for commander, which puts the flag's name in front of what
 * the reader's TypeError says.
 */
export function reader<T>(read: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return read(text);
    } catch (error) {
      if (error instanceof TypeError) throw new InvalidArgumentError(`It ${sentence(error)}.`);
      throw error;
    }
  };
}

function sentence(error: TypeError): string {
  return error.message.startsWith('must ') ? error.message : `cannot be read: ${error.message}`;
}
