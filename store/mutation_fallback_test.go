package store_test

func init() {
	owned = append(owned, "functions/fall_back.sql")
	const tests = "TestAFallbackGoesOnInANewSession|TestAFallbackComesAfterTheAttempts|TestAFallbackThatIsRefused"
	mutants = append(mutants, []mutant{
		{name: "a fallback gets words that only one profile knows", file: "functions/fall_back.sql", old: "if input ?| '{text,messages}' then", new: "if false then", run: tests},
		{name: "a fallback is not linked", file: "functions/fall_back.sql", old: "jsonb_build_object('fallback_of', p.session_id)", new: "'{}'", run: tests},
		{name: "a fallback comes before the attempts", file: "functions/requeue.sql", old: "(failure_kind = 'usage_limit' or failure_kind is not null and not refund and p.attempts_spent >= p.max_attempts) then", new: "failure_kind is not null then", run: tests},
	}...)
}
