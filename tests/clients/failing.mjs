// What scenarios of all clients say of calls that must not succeed.
import assert from 'node:assert/strict';

/** The error that the promise is rejected with. */
export async function failing(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  return assert.fail('it did not fail');
}
