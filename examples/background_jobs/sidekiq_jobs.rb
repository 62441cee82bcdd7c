# Sidekiq's side of the example: the job, loaded by `sidekiq -r ./sidekiq_jobs.rb`.
#
# usage: ruby sidekiq_jobs.rb NUMBER ...   sends jobs with these numbers
require 'sidekiq'

# Debian's Sidekiq calls Debian's redis gem in a way that it is told of at each call.
Redis.silence_deprecations = true

PREFIX = ENV.fetch('EXAMPLE_PREFIX')

Sidekiq.configure_client { |config| config.redis = { url: ENV.fetch('REDIS_URL') } }
Sidekiq.configure_server do |config|
  config.redis = { url: ENV.fetch('REDIS_URL') }
  # Jobs to be tried again are looked for so often, in seconds, also by a process that has just started.
  config.options[:poll_interval_average] = 1
end

class Work
  include Sidekiq::Worker
  sidekiq_options queue: "#{PREFIX}work", retry: 3
  # Sidekiq adds up to nine seconds by chance.
  sidekiq_retry_in { 1 }

  FAILING = ->(number) { number % 100 == 50 }
  STUCK_FROM = 200

  def perform(number)
    tries = count('tries', number)
    raise 'as it should' if FAILING[number] && tries == 1

    # So that a process can be ended or killed in the middle of jobs.
    sleep 0.05 while number >= STUCK_FROM && Sidekiq.redis { |client| client.exists?("#{PREFIX}stuck") }
    count('done', number)
  end

  def count(what, number)
    Sidekiq.redis { |client| client.hincrby("#{PREFIX}#{what}", number, 1) }
  end
end

Sidekiq::Client.push_bulk('class' => Work, 'args' => ARGV.map { |number| [Integer(number)] }) if $PROGRAM_NAME == __FILE__
