// The whole life of turns through pg. Needs DATABASE_URL.
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import * as towpath from './towpath.mjs';

const url = process.env.DATABASE_URL;
const client = new pg.Client(url);
await client.connect();

async function speaking(id) {
  for await (const event of towpath.follow(url, id)) if (event.type === 'message.delta') return;
}

let id = await towpath.submit(client, 'the towpath runs along the water');
process.stdout.write('said: ');
for await (const event of towpath.follow(url, id)) if (event.type === 'message.delta') process.stdout.write(event.data.text);
console.log(`\nended: ${await towpath.status(client, id)}`);

const key = randomUUID();
const same = await towpath.submit(client, 'once', { key }) === await towpath.submit(client, 'once', { key });
console.log(`the same request is the same turn: ${same}`);

id = await towpath.submit(client, 'later', { scheduled_at: new Date(Date.now() + 86_400_000).toISOString() });
console.log(`scheduled for tomorrow: ${await towpath.status(client, id)}, then ${await towpath.cancel(client, id, 'changed my mind')}`);

id = await towpath.submit(client, '[[pace:150ms]] one two three four five six');
await speaking(id);
await towpath.steer(client, id, 'and mind the locks');
console.log(`steered while it spoke: ${await towpath.ended(url, id)}`);

id = await towpath.submit(client, '[[pace:300ms]] one two three four five six seven eight nine ten');
await speaking(id);
await towpath.cancel(client, id, 'enough');
console.log(`cancelled while it spoke: ${await towpath.ended(url, id)}`);

const items = Array.from({ length: Number(process.env.BULK ?? 100_000) }, (_, n) => (
  { profile: 'deepseek', input: { text: `number ${n}` }, options: { scheduled_at: '2099-01-01T00:00:00Z' } }));
console.log(`in one call: ${await towpath.submitMany(client, items)} turns accepted`);
await client.end();
