package store_test

func init() {
	owned = append(owned, "functions/credential.sql")
	const credential, login = "functions/credential.sql", "functions/login_flow.sql"
	mutants = append(mutants, []mutant{
		{name: "tokens in the clear", file: credential, old: "if secret is null or length(secret) not between 33 and 65536 or get_byte(secret, 0) <> 1 then", new: "if false then", run: "TestCredentialsAreEncrypted"},
		{name: "credentials for nobody", file: credential, old: "if coalesce(length(target), 0) not between 1 and 200 or coalesce(length(provider), 0) not between 1 and 200 then", new: "if false then", run: "TestCredentialsAreEncrypted"},
		{name: "two renew", file: credential, old: "x.provider = credential_get.provider for no key update;", new: "x.provider = credential_get.provider;", run: "TestARenewalWaitsForTheOneBeforeIt"},
		{name: "a note that stays", file: credential, old: "renewed_at = t, refused = null;", new: "renewed_at = t;", run: "TestOneRenewsACredential"},
		{name: "nobody is somebody", file: credential, old: "if c.target is null then", new: "if false then", run: "TestOneRenewsACredential"},
		{name: "others are refused", file: credential, old: "where c.target = credential_refuse.target and c.provider = credential_refuse.provider", new: "where c.target = credential_refuse.target", run: "TestOneRenewsACredential"},
		{name: "others are dropped", file: credential, old: "where c.target = credential_drop.target and c.provider = credential_drop.provider", new: "where c.target = credential_drop.target", run: "TestOneRenewsACredential"},
		{name: "offers without a code", file: login, old: "if coalesce(length(verification_url), 0) not between 1 and 2000 or coalesce(length(user_code), 0) not between 1 and 100 then", new: "if false then", run: "TestCredentialsAreEncrypted"},
		{name: "one code for all", file: login, old: "user_code = login_offer.user_code where x.kind = 'device' and x.key = f.key;", new: "user_code = login_offer.user_code where x.kind = 'device';", run: "TestADeviceLoginShowsItsCode"},
	}...)
}
