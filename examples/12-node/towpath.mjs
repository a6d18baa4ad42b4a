// Turns from Node, with pg: a few small functions, and no library of ours.
import pg from 'pg';

const terminal = new Set(['process.completed', 'process.failed', 'process.cancelled', 'process.abandoned']);

export async function submit(client, text, { session = null, key = null, ...options } = {}) {
  // Objects are sent as JSON text by pg; arrays are not: they would become a Postgres array. JSON.stringify says it for both.
  const { rows } = await client.query('select towpath.submit($1, $2, $3, $4, $5) as id', [
    'deepseek', JSON.stringify({ text }), session, key, JSON.stringify(options)]);
  return rows[0].id;
}

// follow yields the events of a turn until it has ended. A notification only wakes: the sequence number is the truth.
export async function* follow(url, process) {
  const client = new pg.Client(url);
  await client.connect();
  let wake = () => {};
  let news = false;
  client.on('notification', () => { news = true; wake(); });
  try {
    await client.query('listen towpath_events'); // before the first look, so that nothing falls between
    for (let after = '0'; ;) {
      news = false;
      const { rows } = await client.query('select seq, type, data from towpath.events($1, $2)', [process, after]);
      for (const event of rows) {
        after = event.seq; // a bigint comes as a string, and may stay one
        yield event;
        if (terminal.has(event.type)) return;
      }
      if (rows.length === 0 && !news) {
        await new Promise((resolve) => { wake = resolve; setTimeout(resolve, 1000); });
      }
    }
  } finally {
    await client.end();
  }
}

export async function ended(url, process) {
  let last;
  for await (const event of follow(url, process)) last = event.type;
  return last.replace('process.', '');
}

export const one = async (client, sql, args) => Object.values((await client.query(sql, args)).rows[0])[0];
export const status = (client, process) => one(client, 'select status from towpath.process($1)', [process]);
export const cancel = (client, process, why) => one(client, 'select towpath.cancel($1, $2)', [process, why]);
export const steer = (client, process, text) => one(client, 'select towpath.steer($1, $2)', [process, JSON.stringify({ text })]);
export const submitMany = (client, items) => one(client, 'select count(*) from towpath.submit_many($1)', [JSON.stringify(items)]);
