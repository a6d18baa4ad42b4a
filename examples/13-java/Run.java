// The whole life of turns through JDBC. Needs DATABASE_URL and the driver on the class path:
//   java -cp postgresql.jar Run.java
import java.net.URI;
import java.sql.*;
import java.time.*;
import java.util.*;
import org.postgresql.PGConnection;

public class Run {
    static final Set<String> TERMINAL = Set.of("process.completed", "process.failed", "process.cancelled", "process.abandoned");

    record Event(String type, String text) {}

    interface Listener { boolean more(Event event) throws SQLException; }

    // JDBC has a form of its own for what the others call a URL.
    static Connection connect() throws SQLException {
        URI uri = URI.create(System.getenv("DATABASE_URL"));
        Properties info = new Properties();
        String[] user = uri.getUserInfo().split(":", 2);
        info.setProperty("user", user[0]);
        if (user.length == 2) info.setProperty("password", user[1]);
        return DriverManager.getConnection("jdbc:postgresql://" + uri.getHost() + ":" + uri.getPort() + uri.getPath(), info);
    }

    static String one(Connection c, String sql, Object... args) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(sql)) {
            for (int i = 0; i < args.length; i++) s.setObject(i + 1, args[i]);
            try (ResultSet r = s.executeQuery()) {
                r.next();
                return r.getString(1);
            }
        }
    }

    // A string is no jsonb to the server: the cast says so.
    static String submit(Connection c, String input, String key, String options) throws SQLException {
        return one(c, "select towpath.submit('deepseek', ?::jsonb, null, ?::text, ?::jsonb)", input, key, options);
    }

    static String submit(Connection c, String input) throws SQLException { return submit(c, input, null, "{}"); }

    // follow hands over events until the turn has ended or the listener has enough. A notification only wakes: the
    // sequence number is the truth.
    static void follow(String process, Listener listener) throws SQLException {
        try (Connection c = connect(); Statement s = c.createStatement()) {
            s.execute("listen towpath_events"); // before the first look, so that nothing falls between
            long after = 0;
            while (true) {
                boolean any = false;
                try (PreparedStatement p = c.prepareStatement("select seq, type, data ->> 'text' from towpath.events(?, ?)")) {
                    p.setString(1, process);
                    p.setLong(2, after);
                    try (ResultSet r = p.executeQuery()) {
                        while (r.next()) {
                            any = true;
                            after = r.getLong(1);
                            Event event = new Event(r.getString(2), r.getString(3));
                            if (!listener.more(event) || TERMINAL.contains(event.type())) return;
                        }
                    }
                }
                if (!any) c.unwrap(PGConnection.class).getNotifications(1000);
            }
        }
    }

    static void speaking(String process) throws SQLException { follow(process, e -> !e.type().equals("message.delta")); }

    static String ended(String process) throws SQLException {
        String[] last = new String[1];
        follow(process, e -> { last[0] = e.type(); return true; });
        return last[0].replace("process.", "");
    }

    static String status(Connection c, String process) throws SQLException {
        return one(c, "select status from towpath.process(?)", process);
    }

    public static void main(String[] args) throws Exception {
        try (Connection c = connect()) {
            String id = submit(c, "{\"text\": \"the towpath runs along the water\"}");
            System.out.print("said: ");
            follow(id, e -> {
                if (e.type().equals("message.delta")) System.out.print(e.text());
                return true;
            });
            System.out.println("\nended: " + status(c, id));

            String key = UUID.randomUUID().toString();
            boolean same = submit(c, "{\"text\": \"once\"}", key, "{}").equals(submit(c, "{\"text\": \"once\"}", key, "{}"));
            System.out.println("the same request is the same turn: " + same);

            id = submit(c, "{\"text\": \"later\"}", null, "{\"scheduled_at\": \"" + Instant.now().plus(Duration.ofDays(1)) + "\"}");
            System.out.print("scheduled for tomorrow: " + status(c, id));
            System.out.println(", then " + one(c, "select towpath.cancel(?, ?)", id, "changed my mind"));

            id = submit(c, "{\"text\": \"[[pace:150ms]] one two three four five six\"}");
            speaking(id);
            one(c, "select towpath.steer(?, ?::jsonb)", id, "{\"text\": \"and mind the locks\"}");
            System.out.println("steered while it spoke: " + ended(id));

            id = submit(c, "{\"text\": \"[[pace:300ms]] one two three four five six seven eight nine ten\"}");
            speaking(id);
            one(c, "select towpath.cancel(?, ?)", id, "enough");
            System.out.println("cancelled while it spoke: " + ended(id));

            int bulk = Integer.parseInt(System.getenv().getOrDefault("BULK", "100000"));
            StringJoiner items = new StringJoiner(",", "[", "]");
            for (int n = 0; n < bulk; n++) {
                items.add("{\"profile\": \"deepseek\", \"input\": {\"text\": \"number " + n + "\"}, \"options\": {\"scheduled_at\": \"2099-01-01T00:00:00Z\"}}");
            }
            System.out.println("in one call: " + one(c, "select count(*) from towpath.submit_many(?::jsonb)", items.toString()) + " turns accepted");

            // JDBC takes every ? for a parameter. jsonb's own operator of that name is written ??.
            System.out.println("a jsonb operator with a question mark: "
                + ("t".equals(one(c, "select ?::jsonb ?? 'text'", "{\"text\": \"once\"}"))));
        }
    }
}
